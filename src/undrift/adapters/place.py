"""Where a server is, and who asks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from undrift.errors import BadConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The address of a server.

    Attributes:
        scheme: the store's, as in the configuration.
        host: a name or an address.
        port: its port.
        path: what stands before every path, as a proxy wants it; empty or `/…`.
        tls: whether it is asked over TLS.
        ca_file: certificates that its own is checked with; empty for those of the system.
        user: who asks, with the secret as a password; empty when the secret is an API key.
        secret: the password or the key.
    """

    scheme: str
    host: str
    port: int
    path: str
    tls: bool
    ca_file: str = ""
    user: str = ""
    secret: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """What messages call this store."""
        return f"store {self.scheme}://{self.host}:{self.port}{self.path}"

    @property
    def url(self) -> str:
        """The address as a client wants it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{self.path}"


def place_from(scheme: str, rest: str, *, port: int, tls: bool, ca_file: str, user: str, secret: str | None) -> Place:
    """Return where a server is.

    Args:
        scheme: the word before the colon.
        rest: what follows it: `//HOST:PORT/PATH`.
        port: the usual one.
        tls: whether it is asked over TLS.
        ca_file: certificates to check it with.
        user: who asks.
        secret: a password of the user, or an API key.

    Raises:
        BadConfig: the address is not one, or has a password in it; or a user has no password.
    """
    try:
        parts = urlsplit(f"{scheme}:{rest}")
        host, said = parts.hostname, parts.port
    except ValueError as error:
        raise BadConfig(f"{scheme}:… is not an address", str(error), f"write {scheme}://HOST:{port}") from error
    if parts.username is not None or parts.password is not None:
        raise BadConfig(
            f"the address of store {scheme} has a user or a password in it",
            "a configuration is read by many",
            'write user = "NAME" and api_key_env = "VARIABLE" beside it',
        )
    if not host or parts.query or parts.fragment or re.search(r"\s", rest):
        raise BadConfig(f"store {scheme} has no address", hint=f"write {scheme}://HOST:{port}")
    if user and not secret:
        raise BadConfig(
            f"store {scheme} has a user and no password", hint='name the variable that has it: api_key_env = "VARIABLE"'
        )
    return Place(
        scheme=scheme,
        host=unquote(host),
        port=said or port,
        path=parts.path.rstrip("/"),
        tls=tls,
        ca_file=ca_file,
        user=user,
        secret=secret or None,
    )
