"""The ledger in a SQLite file, shared by the processes of one host."""

from __future__ import annotations

from undrift.adapters.ledgers.sqlite.backfill import BackfillTables
from undrift.adapters.ledgers.sqlite.batches import BatchTables
from undrift.adapters.ledgers.sqlite.clients import ClientTables
from undrift.adapters.ledgers.sqlite.evidence import EvidenceTables
from undrift.adapters.ledgers.sqlite.journal import JournalTables
from undrift.adapters.ledgers.sqlite.memory import MemoryTables
from undrift.adapters.ledgers.sqlite.migrations import MigrationTables
from undrift.adapters.ledgers.sqlite.routes import RouteTables
from undrift.adapters.ledgers.sqlite.spending import SpendingTables
from undrift.adapters.ledgers.sqlite.sync import SyncTables
from undrift.adapters.ledgers.sqlite.tags import TagTables


class SqliteLedger(
    RouteTables,
    ClientTables,
    JournalTables,
    BackfillTables,
    SyncTables,
    MigrationTables,
    SpendingTables,
    EvidenceTables,
    TagTables,
    BatchTables,
    MemoryTables,
):
    """`ports.ledger.Ledger` on one SQLite file; each base class keeps the tables of one concern."""


__all__ = ["SqliteLedger"]
