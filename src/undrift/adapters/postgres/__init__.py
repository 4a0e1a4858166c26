"""PostgreSQL databases that a ledger, a store, or both live in: addresses, connections, and common transactions."""

from __future__ import annotations

from undrift.adapters.postgres.address import Address, Owner, address_from
from undrift.adapters.postgres.connections import Connections, User, is_suspect
from undrift.adapters.postgres.database import AGAIN, Database, undone
from undrift.adapters.postgres.refusal import refused

__all__ = [
    "AGAIN",
    "Address",
    "Connections",
    "Database",
    "Owner",
    "User",
    "address_from",
    "is_suspect",
    "refused",
    "undone",
]
