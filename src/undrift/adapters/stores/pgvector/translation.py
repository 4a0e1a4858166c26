"""What a failure of PostgreSQL means to who uses it as a store."""

from __future__ import annotations

from typing import Any

from undrift.adapters.postgres import AGAIN
from undrift.errors import CollectionMissing, FieldInUse, StoreRejected, StoreUnavailable, UndriftError

#: undefined_table and invalid_schema_name.
_MISSING = frozenset({"42P01", "3F000"})
#: duplicate_table.
_THERE = "42P07"
#: Classes of SQLSTATE that say that the data cannot be kept: data exception, integrity constraint, program limit.
_REJECTED = frozenset({"22", "23", "54"})
_NOTHING = "nothing of this call was written"


def refused(error: Exception, name: str, hint: str) -> UndriftError:
    """Return the error for a connection that could not be made."""
    text = str(error).strip()
    if "password" in text or "authentication" in text or "pg_hba" in text:
        hint = "set PGPASSWORD or ~/.pgpass for the user of the address"
    elif 'database "' in text and "does not exist" in text:
        hint = "create the database, or change `url` of the store in the configuration"
    return StoreUnavailable(f"{name} cannot be reached", text, hint)


def translate(error: Any, name: str, hint: str, collection: str) -> UndriftError:
    """Return the error that a failure of a statement means to a user; a `psycopg.Error`."""
    state, text = error.sqlstate or "", str(error).strip()
    if state in _MISSING:
        return CollectionMissing(f"{name} has no collection {collection}")
    if state == _THERE:
        return FieldInUse(
            f"collection {collection} is in {name} already", hint="choose another name, or drop it if nobody uses it"
        )
    if state == "53100":
        return StoreRejected(f"{name} cannot grow: its disk is full", _NOTHING, "free space on the server")
    if state == "25006":
        return StoreRejected(
            f"{name} is read-only; it may be a standby", text, "let the address name the primary server"
        )
    if state == "42501":
        return StoreRejected(
            f"{name} does not let this user do that",
            text,
            "GRANT USAGE, CREATE ON SCHEMA, and ALL ON its tables, to the user of the address",
        )
    if state[:2] in _REJECTED:
        return StoreRejected(f"{name} does not take this write: {error.diag.message_primary}", _NOTHING)
    if state in {"57014", "55P03", *AGAIN}:
        return StoreUnavailable(
            f"{name} is busy: another transaction held a lock too long", f"{text}; {_NOTHING}", hint
        )
    return StoreUnavailable(f"{name} did not answer", text or type(error).__name__, hint)
