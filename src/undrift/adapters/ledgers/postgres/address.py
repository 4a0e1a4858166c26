"""The address of a PostgreSQL ledger, and how it may be shown."""

from __future__ import annotations

from dataclasses import dataclass

from undrift.errors import BadConfig, MissingExtra

_HINT = "write postgresql://USER@HOST:PORT/DATABASE, and the password into PGPASSWORD or ~/.pgpass"
#: What a connection gets unless the address says otherwise: a server that vanished is given up in seconds.
_DEFAULTS = {
    "connect_timeout": "5",
    "tcp_user_timeout": "15000",
    "keepalives_idle": "15",
    "application_name": "undrift",
    "client_encoding": "utf8",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a ledger is.

    Attributes:
        conninfo: what the driver connects with; it has no password.
        name: what messages call it.
        hint: a command that shows whether the server answers.
    """

    conninfo: str
    name: str
    hint: str


def address_from(url: str) -> Address:
    """Read an address.

    Raises:
        BadConfig: it is not one, or has a password in it; the message never repeats it.
        MissingExtra: the driver is not installed.
    """
    try:
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict, make_conninfo
    except ImportError as error:
        raise MissingExtra(
            "psycopg is not installed", "it connects to a PostgreSQL ledger", "pip install 'undrift[postgres]'"
        ) from error
    try:
        given = {key: str(value) for key, value in conninfo_to_dict(url).items() if value is not None}
        if given.pop("password", None) is not None:
            raise BadConfig("the ledger's address has a password in it", "a configuration is no place for one", _HINT)
        conninfo = make_conninfo(**{**_DEFAULTS, **given})
    except ProgrammingError:
        # Without its cause: libpq repeats the address, and a password may be in it.
        raise BadConfig("the ledger's address is not one that PostgreSQL knows", hint=_HINT) from None
    host, port = given.get("host", given.get("hostaddr", "")), given.get("port", "")
    place = (host or "local") + (f":{port}" if port else "")
    options = [f"-{flag} {given[key]}" for flag, key in (("h", "host"), ("p", "port")) if key in given]
    return Address(
        conninfo=conninfo,
        name=f"ledger postgresql://{place}/{given.get('dbname', '')}",
        hint=" ".join(["pg_isready", *options]),
    )
