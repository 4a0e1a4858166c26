"""The address of a PostgreSQL database, and how it may be shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from undrift.errors import BadConfig, MissingExtra


class Owner(Enum):
    """What a database is used for, which decides what messages call it, and how its address begins."""

    #: The control plane's.
    LEDGER = "ledger"
    #: The vectors'.
    STORE = "store"
    #: The texts of documents whose vectors are elsewhere.
    TEXTS = "source of texts"


#: How an address begins.
_SCHEMES = {Owner.LEDGER: "postgresql", Owner.STORE: "pgvector", Owner.TEXTS: "postgresql"}
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
    """Where a database is.

    Attributes:
        conninfo: what the driver connects with; it has no password.
        place: where it is, for a person.
        owner: what it is used for.
        hint: a command that shows whether the server answers.
    """

    conninfo: str
    place: str
    owner: Owner
    hint: str

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.owner.value} {self.url}"

    @property
    def url(self) -> str:
        """Its address, with nothing that has to be kept secret."""
        return f"{_SCHEMES[self.owner]}://{self.place}"


def address_from(url: str, owner: Owner = Owner.LEDGER) -> Address:
    """Read an address.

    Args:
        url: `postgresql://…` for a ledger or for texts, `pgvector://…` for a store; without a password.
        owner: what the database is used for.

    Raises:
        BadConfig: it is not one, or has a password in it; the message shows it without.
        MissingExtra: the driver is not installed.
    """
    extra = "pgvector" if owner is Owner.STORE else "postgres"
    try:
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict, make_conninfo
    except ImportError as error:
        raise MissingExtra(
            "psycopg is not installed", f"it connects to a PostgreSQL {owner.value}", f"pip install 'undrift[{extra}]'"
        ) from error
    scheme, shown = _SCHEMES[owner], f"{owner.value} {masked(url)}"
    how = f"write {scheme}://USER@HOST:PORT/DATABASE, and the password into PGPASSWORD or ~/.pgpass"
    try:
        # The driver knows its own scheme only.
        known = f"postgresql://{url.removeprefix('pgvector://')}" if url.startswith("pgvector://") else url
        given = {key: str(value) for key, value in conninfo_to_dict(known).items() if value is not None}
        if given.pop("password", None) is not None:
            raise BadConfig(f"{shown} has a password in it", "a configuration is no place for one", how)
        wrong = [part for part in given.get("port", "").split(",") if part and not _is_port(part)]
        if wrong:
            raise BadConfig(f"{shown} has a port that is none", "a port is a number from 1 to 65535", how)
        conninfo = make_conninfo(**{**_DEFAULTS, **given})
    except ProgrammingError:
        # Without its cause: libpq repeats the address, and a password may be in it.
        raise BadConfig(f"{shown} is not an address that PostgreSQL knows", hint=how) from None
    host, port = given.get("host", given.get("hostaddr", "")), given.get("port", "")
    place = (host or "local") + (f":{port}" if port else "")
    options = [f"-{flag} {given[key]}" for flag, key in (("h", "host"), ("p", "port")) if key in given]
    return Address(
        conninfo=conninfo,
        place=f"{place}/{given.get('dbname', '')}",
        owner=owner,
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
