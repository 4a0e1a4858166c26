"""The conformance kit for ledgers: every rule of `undrift.ports.ledger` as a test that any adapter can run.

Write a `LedgerBench` for the adapter, and a test class with a fixture `bench`:

    class TestMyLedger(LedgerConformance):
        @pytest.fixture
        def bench(self, tmp_path):
            bench = MyBench(tmp_path)
            yield bench
            bench.close()
"""

from __future__ import annotations

from undrift.testing.ledgers.aliases import AliasRules, EvidenceRules
from undrift.testing.ledgers.backfill import BackfillRules
from undrift.testing.ledgers.batches import BatchRules
from undrift.testing.ledgers.bench import LedgerBench, Mark
from undrift.testing.ledgers.bracket import BracketRules
from undrift.testing.ledgers.carrying import CarryingRules, QuarantineRules
from undrift.testing.ledgers.clients import ClientRules
from undrift.testing.ledgers.memory import MemoryRules
from undrift.testing.ledgers.migrations import MigrationRules
from undrift.testing.ledgers.outages import ContentionRules, OutageRules
from undrift.testing.ledgers.routes import RouteRules
from undrift.testing.ledgers.spending import PaceRules, SpendingRules
from undrift.testing.ledgers.tags import TagRules


class LedgerConformance(
    AliasRules,
    EvidenceRules,
    ClientRules,
    BracketRules,
    BackfillRules,
    CarryingRules,
    QuarantineRules,
    MigrationRules,
    SpendingRules,
    PaceRules,
    BatchRules,
    RouteRules,
    TagRules,
    MemoryRules,
    OutageRules,
    ContentionRules,
):
    """Every rule that a ledger has to keep; each test says in its name which."""


__all__ = ["LedgerBench", "LedgerConformance", "Mark"]
