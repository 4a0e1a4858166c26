"""What a failure of PostgreSQL means to who uses it as a store."""

from __future__ import annotations

from typing import Any

from undrift.adapters.postgres import AGAIN, Address, refused
from undrift.errors import CollectionMissing, FieldInUse, StoreFull, StoreRejected, StoreUnavailable, UndriftError

#: undefined_table and invalid_schema_name.
_MISSING = frozenset({"42P01", "3F000"})
#: duplicate_table.
_THERE = "42P07"
#: Classes of SQLSTATE that say that the data cannot be kept: data exception, integrity constraint, program limit.
_REJECTED = frozenset({"22", "23", "54"})
_NOTHING = "nothing of this call was written"


def translate(error: Any, address: Address, collection: str) -> UndriftError:
    """Return the error that a failure of a statement means to a user; a `psycopg.Error`."""
    state, text = error.sqlstate or "", str(error).strip()
    if "statement pooling" in text:
        return refused(error, address)
    if state in _MISSING:
        return CollectionMissing(f"{address.name} has no collection {collection}")
    if state == _THERE:
        return FieldInUse(
            f"collection {collection} is in {address.name} already",
            hint="choose another name, or drop it if nobody uses it",
        )
    if state == "53100":
        return StoreFull(f"{address.name} cannot grow: its disk is full", _NOTHING, "free space on the server")
    if state == "25006":
        return StoreRejected(
            f"{address.name} is read-only; it may be a standby", text, "let the address name the primary server"
        )
    if state == "42501":
        return StoreRejected(
            f"{address.name} does not let this user do that",
            text,
            "GRANT USAGE, CREATE ON SCHEMA, and ALL ON its tables, to the user of the address",
        )
    if state == "2BP01":
        return StoreRejected(
            f"collection {collection} of {address.name} cannot be dropped: other things in the database depend on it",
            f"{error.diag.message_detail or text}; {_NOTHING}",
            "drop or change these first, such as a view of yours",
        )
    if state[:2] in _REJECTED:
        return StoreRejected(f"{address.name} does not take this write: {error.diag.message_primary}", _NOTHING)
    if state in {"57014", "55P03", *AGAIN}:
        return StoreUnavailable(
            f"{address.name} is busy: another transaction held a lock too long", f"{text}; {_NOTHING}", address.hint
        )
    return StoreUnavailable(f"{address.name} did not answer", text or type(error).__name__, address.hint)
