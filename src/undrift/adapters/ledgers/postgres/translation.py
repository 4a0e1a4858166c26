"""What a failure of PostgreSQL means to a user."""

from __future__ import annotations

from typing import Any

from undrift.adapters.postgres import Address, refused
from undrift.errors import ControlUnavailable, LedgerUnusable, UndriftError, UnknownAlias

_UNKNOWN_ALIAS = "UD001"
#: Raised by the functions in a transaction that could not see what it waited for.
WRONG_ISOLATION = "UD002"


def translate(error: Any, address: Address) -> UndriftError:
    """Return the error that a failure of a statement means to a user; a `psycopg.Error`."""
    state = error.sqlstate or ""
    text = str(error).strip()
    if "statement pooling" in text:
        return refused(error, address)
    if state == _UNKNOWN_ALIAS:
        name = error.diag.message_detail or "of this name"
        return UnknownAlias(f"the ledger knows no alias {name}", hint=f"undrift alias create {name}")
    if state == "53100":
        return ControlUnavailable(f"{address.name} cannot grow: its disk is full", text, "free space on the server")
    if state == "25006":
        return ControlUnavailable(
            f"{address.name} is read-only; it may be a standby", text, "let the address name the primary server"
        )
    if state == "42501":
        tables = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA undrift TO ROLE"
        rights = f"GRANT USAGE ON SCHEMA undrift TO ROLE; {tables}"
        if "for database" in text:
            rights = "GRANT CREATE ON DATABASE NAME TO ROLE, for the first process, which makes the tables"
        return ControlUnavailable(f"{address.name} does not let this user in", text, rights)
    if state == "55P03":
        return ControlUnavailable(
            f"{address.name} is busy: another process held a lock too long", text, "undrift doctor"
        )
    if state == WRONG_ISOLATION or state[:2] in {"42", "22", "23", "XX"}:
        return LedgerUnusable(f"{address.name} is damaged or not what undrift made", text, "undrift doctor")
    return ControlUnavailable(f"{address.name} did not answer", text or type(error).__name__, address.hint)
