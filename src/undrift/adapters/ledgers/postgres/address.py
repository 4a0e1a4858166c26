"""The address of a PostgreSQL ledger, and how it may be shown."""

from __future__ import annotations

import re
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
        BadConfig: it is not one, or has a password in it; the message shows it without.
        MissingExtra: the driver is not installed.
    """
    try:
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict, make_conninfo
    except ImportError as error:
        raise MissingExtra(
            "psycopg is not installed", "it connects to a PostgreSQL ledger", "pip install 'undrift[postgres]'"
        ) from error
    shown = masked(url)
    try:
        given = {key: str(value) for key, value in conninfo_to_dict(url).items() if value is not None}
        if given.pop("password", None) is not None:
            raise BadConfig(f"ledger {shown} has a password in it", "a configuration is no place for one", _HINT)
        wrong = [part for part in given.get("port", "").split(",") if part and not _is_port(part)]
        if wrong:
            raise BadConfig(f"ledger {shown} has a port that is none", "a port is a number from 1 to 65535", _HINT)
        conninfo = make_conninfo(**{**_DEFAULTS, **given})
    except ProgrammingError:
        # Without its cause: libpq repeats the address, and a password may be in it.
        raise BadConfig(f"ledger {shown} is not an address that PostgreSQL knows", hint=_HINT) from None
    host, port = given.get("host", given.get("hostaddr", "")), given.get("port", "")
    place = (host or "local") + (f":{port}" if port else "")
    options = [f"-{flag} {given[key]}" for flag, key in (("h", "host"), ("p", "port")) if key in given]
    return Address(
        conninfo=conninfo,
        name=f"ledger postgresql://{place}/{given.get('dbname', '')}",
        hint=" ".join(["pg_isready", *options]),
    )


def masked(url: str) -> str:
    """Return an address as it may be shown, also one that is none: no password, and no value that could be one."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return re.split(r"[^a-zA-Z0-9+.-]", url, maxsplit=1)[0] + ":…"
    credentials, at, place = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    place, mark, query = place.partition("?")
    # Where the host was forgotten, the password stands where a port does.
    place = re.sub(r":[^/,:\]]*[^\d/,:\]][^/,:\]]*", ":…", place)
    keys = "&".join(part.partition("=")[0] + "=…" for part in query.split("&") if "=" in part)
    return f"{scheme}://{user}{':***' if colon else ''}{at}{place}{mark if keys else ''}{keys}"


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < int(text) < 65536
