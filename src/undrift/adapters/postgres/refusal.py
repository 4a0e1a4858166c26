"""What it means that no connection could be made, and what mends it."""

from __future__ import annotations

from undrift.adapters.postgres.address import Address, Owner
from undrift.errors import BadConfig, ControlUnavailable, StoreUnavailable, UndriftError

#: What a server or the driver says of a connection that it does not make, and what mends it; the first that fits.
_CURES = (
    (("SSL was required", "does not support SSL"), "turn TLS on at the server, or write sslmode=prefer in the address"),
    (("no encryption", "SSL off"), "write sslmode=require in the address"),
    (("certificate",), "name the authority's certificate: sslrootcert=PATH, or sslrootcert=system for public ones"),
    (("password", "authentication", "pg_hba", "role "), "set PGPASSWORD or ~/.pgpass for the user of the address"),
    (("statement pooling",), "let the pooler work in transaction mode: pool_mode = transaction"),
)
#: Where the configuration has the address of each.
_KEYS = {Owner.LEDGER: "`ledger`", Owner.STORE: "`url` of the store", Owner.TEXTS: "`text` of the alias"}


def refused(error: Exception, address: Address) -> UndriftError:
    """Return the error for a connection that could not be made."""
    text, key = str(error).strip(), _KEYS[address.owner]
    if text.startswith(("connection is bad: invalid", "bad value for")):
        return BadConfig(f"{address.name} has an option that is none", text, f"change {key} in the configuration")
    if 'database "' in text and "does not exist" in text:
        hint = f"create the database, or change {key} in the configuration"
    else:
        hint = next((cure for words, cure in _CURES if any(word in text for word in words)), address.hint)
    unavailable = ControlUnavailable if address.owner is Owner.LEDGER else StoreUnavailable
    return unavailable(f"{address.name} cannot be reached", text, hint)
