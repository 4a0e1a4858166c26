"""A collection of a dozen documents in the middle of a migration, and one worker at it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from undrift import Document
from undrift.domain.checkpoint import Lag
from undrift.domain.migration import Migration, Phase
from undrift.domain.record import DocumentId
from undrift.domain.route import VectorField
from undrift.migrate.workshop import Workshop
from undrift.ports.ledger import Ledger
from undrift.ports.store import Layout
from undrift.testing.rig import ALIAS, Rig, documents

DOCUMENTS = documents(*(f"text of number {number}" for number in range(12)))
TIMING = {"lease_s": 10.0, "deadline_s": 20.0, "work_lease_s": 30.0, "fence_horizon_s": 5.0, "write_timeout_s": 60.0}


class Scene:
    """A worker under test, and an operator and an application elsewhere."""

    def __init__(self, folder: Path, *, where: Layout = Layout.COLLECTION, **more: Any) -> None:
        self.where = where
        self.rig = Rig(folder=folder, timing=TIMING, **more)
        self.app = self.rig.process("app")
        self.app.alias.upsert(DOCUMENTS)
        self.operator = self.rig.process("operator")
        self.worker = self.rig.process("worker")

    def begin(self, phase: Phase = Phase.BACKFILL) -> Scene:
        """Bring the migration to a phase; for the back-fill, to its first piece."""
        self.operator.plane.register(ALIAS, "new", layout=self.where)
        if phase in (Phase.REVERSING, Phase.ROLLED_BACK):
            self.worker.work_to(Phase.READY)
            self.operator.plane.cutover(ALIAS)
        else:
            self.worker.work_to(phase)
        if phase is Phase.ROLLED_BACK:
            self.rig.clock.sleep(2)
            self.operator.plane.rollback(ALIAS)
        self.rig.clock.sleep(2)
        return self

    @property
    def workshop(self) -> Workshop:
        return self.worker.plane.workshop(ALIAS)

    @property
    def ledger(self) -> Ledger:
        """The ledger as the operator's process has it."""
        return self.operator.plane.ledger

    @property
    def migration(self) -> Migration:
        found = self.rig.migration()
        assert found is not None
        return found

    def lag(self) -> Lag:
        return self.ledger.lag(ALIAS)

    def source(self) -> dict[str, str]:
        return self.texts(self.migration.source)

    def target(self) -> dict[str, str]:
        return self.texts(self.migration.target)

    def texts(self, place: VectorField) -> dict[str, str]:
        return {id: record.text for id, record in self.rig.records(place).items()}

    def write(self, *documents: Document) -> None:
        self.app.alias.upsert(documents)

    def carry(self) -> None:
        """Let another worker carry over what is dirty."""
        worker = self.operator.worker()
        while self.lag().dirty:
            worker.tick()
            self.rig.clock.sleep(0.1)

    def when(self, call: str, act: Callable[[], object], *, nth: int = 1) -> None:
        """Let something happen elsewhere just before the worker makes a call for the n-th time."""
        seen = 0

        def on_call(name: str) -> None:
            nonlocal seen
            seen += name == call
            if name == call and seen == nth:
                act()

        self.worker.faults.on_call = on_call

    def calls(self) -> list[str]:
        return self.worker.faults.calls

    def quarantined(self) -> dict[DocumentId, str]:
        return {one.key: one.reason for one in self.ledger.quarantined(ALIAS)}


def texts_of(documents: Sequence[Document]) -> dict[str, str]:
    return {document.id: document.text for document in documents}
