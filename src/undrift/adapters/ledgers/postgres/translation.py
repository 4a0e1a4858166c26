"""What a failure of PostgreSQL means to a user."""

from __future__ import annotations

from typing import Any

from undrift.adapters.ledgers.postgres.address import Address
from undrift.errors import BadConfig, ControlUnavailable, LedgerUnusable, UndriftError, UnknownAlias

#: Conditions that pass when the same transaction is tried again: serialization_failure, deadlock_detected.
AGAIN = frozenset({"40001", "40P01"})
_UNKNOWN_ALIAS, _WRONG_ISOLATION = "UD001", "UD002"
#: Classes of SQLSTATE after which a connection is not used again: it may be to a server that is going, or a standby.
_GOING = frozenset({"08", "25", "53", "57", "58", "XX"})


def is_suspect(error: Any) -> bool:
    """Whether a connection that gave this error should be closed."""
    return error.sqlstate is None or error.sqlstate[:2] in _GOING


#: What a server or the driver says of a connection that it does not make, and what mends it; the first that fits.
_CURES = (
    (("SSL was required", "does not support SSL"), "turn TLS on at the server, or write sslmode=prefer in the address"),
    (("no encryption", "SSL off"), "write sslmode=require in the address"),
    (("certificate",), "name the authority's certificate: sslrootcert=PATH, or sslrootcert=system for public ones"),
    (("password", "authentication", "pg_hba", "role "), "set PGPASSWORD or ~/.pgpass for the user of the address"),
    (("statement pooling",), "let the pooler work in transaction mode: pool_mode = transaction"),
)


def refused(error: Exception, address: Address) -> UndriftError:
    """Return the error for a connection that could not be made."""
    text = str(error).strip()
    if text.startswith(("connection is bad: invalid", "bad value for")):
        return BadConfig(f"{address.name} has an option that is none", text, "change `ledger` in the configuration")
    if 'database "' in text and "does not exist" in text:
        hint = "create the database, or change `ledger` in the configuration"
    else:
        hint = next((cure for words, cure in _CURES if any(word in text for word in words)), address.hint)
    return ControlUnavailable(f"{address.name} cannot be reached", text, hint)


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
        return ControlUnavailable(
            f"{address.name} does not let this user in", text, "GRANT ALL ON SCHEMA undrift and its tables to the user"
        )
    if state == "55P03":
        return ControlUnavailable(
            f"{address.name} is busy: another process held a lock too long", text, "undrift doctor"
        )
    if state == _WRONG_ISOLATION or state[:2] in {"42", "22", "23", "XX"}:
        return LedgerUnusable(f"{address.name} is damaged or not what undrift made", text, "undrift doctor")
    return ControlUnavailable(f"{address.name} did not answer", text or type(error).__name__, address.hint)
