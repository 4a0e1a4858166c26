"""The ledger in a PostgreSQL database, shared by the processes of several hosts."""

from __future__ import annotations

from undrift.adapters.ledgers.postgres.backfill import BackfillTables
from undrift.adapters.ledgers.postgres.batches import BatchTables
from undrift.adapters.ledgers.postgres.clients import ClientTables
from undrift.adapters.ledgers.postgres.evidence import EvidenceTables
from undrift.adapters.ledgers.postgres.inspection import Inspection
from undrift.adapters.ledgers.postgres.journal import JournalTables
from undrift.adapters.ledgers.postgres.memory import MemoryTables
from undrift.adapters.ledgers.postgres.migrations import MigrationTables
from undrift.adapters.ledgers.postgres.routes import RouteTables
from undrift.adapters.ledgers.postgres.spending import SpendingTables
from undrift.adapters.ledgers.postgres.sync import SyncTables
from undrift.adapters.ledgers.postgres.tags import TagTables


class PostgresLedger(
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
    Inspection,
):
    """`ports.ledger.Ledger` in a database's schema `undrift`; each base class keeps the tables of one concern."""


__all__ = ["PostgresLedger"]
