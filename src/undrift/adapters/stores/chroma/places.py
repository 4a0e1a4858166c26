"""Where a Chroma is: on a server, or in a folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from undrift.errors import BadConfig

_SERVER = re.compile(r"//(?P<host>\[[0-9A-Fa-f:.]+\]|[^/:@?#\[\]]+)(:(?P<port>[0-9]{1,5}))?/?")
_PORT, _SECURE_PORT = 8000, 443


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server, `chroma run` or another one that speaks its protocol.

    Attributes:
        host: its name or address.
        port: its port.
        ssl: whether it is spoken to through TLS.
        headers: what every request has with it, as a token; never shown.
    """

    host: str
    port: int
    ssl: bool
    headers: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"chroma://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder on this machine, used by one process at a time."""

    path: Path

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"chroma:{self.path}"


def place_from(address: str, *, ssl: bool, token: str | None, token_header: str) -> Server | Folder:
    """Return the place that an address without its scheme means: `//host:port`, or a path.

    Raises:
        BadConfig: it is no address, or has a password in it.
    """
    if not address.startswith("//"):
        if not address:
            raise BadConfig("a store in Chroma has no place", hint='url = "chroma://localhost:8000" or "chroma:FOLDER"')
        return Folder(path=Path(address))
    found = _SERVER.fullmatch(address)
    if found is None:
        raise BadConfig(
            "the address of a Chroma server is written as chroma://HOST:PORT",
            "it has no user, no password and no path in it; tenant and database are settings of the store",
            'tenant = "…", database = "…", and the token in the environment variable CHROMA_TOKEN',
        )
    port = int(found["port"] or (_SECURE_PORT if ssl else _PORT))
    if not 0 < port < 65536:
        raise BadConfig(f"{port} is no port of a Chroma server", hint="chroma://HOST:8000")
    headers: tuple[tuple[str, str], ...] = ()
    if token:
        bearer = token_header.lower() == "authorization"
        headers = ((token_header, f"Bearer {token}" if bearer else token),)
    return Server(host=found["host"].strip("[]"), port=port, ssl=ssl, headers=headers)
