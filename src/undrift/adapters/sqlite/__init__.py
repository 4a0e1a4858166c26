"""SQLite files shared by several processes: connections, fair transactions, and refusals of what is not safe."""

from __future__ import annotations

from undrift.adapters.sqlite.database import Database
from undrift.adapters.sqlite.filesystem import NETWORK_FILESYSTEMS, filesystem_of, refuse_network_filesystem
from undrift.adapters.sqlite.session import SAFE_SQLITE, Durability, Session, sqlite_is_safe
from undrift.adapters.sqlite.translation import Owner, translate, translating

__all__ = [
    "NETWORK_FILESYSTEMS",
    "SAFE_SQLITE",
    "Database",
    "Durability",
    "Owner",
    "Session",
    "filesystem_of",
    "refuse_network_filesystem",
    "sqlite_is_safe",
    "translate",
    "translating",
]
