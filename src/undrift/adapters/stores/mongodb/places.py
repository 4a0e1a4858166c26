"""Where a MongoDB is, and which of its databases."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from undrift.errors import BadConfig

_ADDRESS = re.compile(r"(?P<scheme>mongodb(\+srv)?)://(?P<hosts>[^/@?#\s]+)(/(?P<database>[^/@?#\s.$\"\\]{1,63}))?/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A database of a deployment.

    Attributes:
        url: where the deployment is, without who asks.
        database: the name of the database.
        tls: whether it is asked over TLS; None for what the scheme says.
        ca_file: certificates that its own is checked with; empty for those of the system.
        user: who asks; empty for nobody.
        secret: the password.
        auth_source: the database that knows the user.
    """

    url: str
    database: str
    tls: bool | None
    ca_file: str = ""
    user: str = ""
    secret: str | None = field(default=None, repr=False)
    auth_source: str = "admin"

    @property
    def name(self) -> str:
        """What messages call this store."""
        return f"store {self.url}/{self.database}"


def place_from(
    address: str, *, tls: bool | None, ca_file: str, user: str, secret: str | None, auth_source: str
) -> Place:
    """Return what an address means: `mongodb://HOST:PORT,HOST:PORT/DATABASE`, or `mongodb+srv://HOST/DATABASE`.

    Raises:
        BadConfig: it is no address, or has a password or options in it; or a user has no password.
    """
    if "@" in address:
        raise BadConfig(
            "the address of store mongodb has a user or a password in it",
            "a configuration is read by many",
            'write user = "NAME" and api_key_env = "VARIABLE" beside it',
        )
    found = _ADDRESS.fullmatch(address)
    if found is None or found["database"] is None:
        raise BadConfig(
            f"{address.partition('?')[0]} is no address of a MongoDB",
            "it names a database, and has no options: those are settings of the store",
            "write mongodb://HOST:27017/DATABASE, or mongodb+srv://CLUSTER.example.com/DATABASE",
        )
    if user and not secret:
        raise BadConfig(
            "store mongodb has a user and no password", hint='name the variable that has it: api_key_env = "VARIABLE"'
        )
    return Place(
        url=f"{found['scheme']}://{found['hosts']}",
        database=found["database"],
        tls=tls,
        ca_file=ca_file,
        user=user,
        secret=secret or None,
        auth_source=auth_source,
    )
