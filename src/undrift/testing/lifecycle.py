"""The whole life of a migration as one test: start, cancel, start, cutover, rollback, cutover, complete.

A case says what is in the collection, and what an application does after each stage. The harness always runs all
stages, and after each compares both fields with what the application wrote (after pgroll's `ExecuteTests`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from undrift.domain.migration import BEFORE_CUTOVER, Migration, Phase
from undrift.domain.record import Document, DocumentId, stamp
from undrift.flow.alias import Alias
from undrift.ports.store import Layout
from undrift.testing.rig import ALIAS, Process, Rig

#: Longer than clients take to learn of a route, shorter than any lease.
_MOMENT_S = 2.0


@dataclass(kw_only=True)
class Stage:
    """What the actions of a case work with: an application, and the truth that its writes make.

    Attributes:
        rig: the collection and everything around it.
        app: the application's process.
        truth: what the collection should hold now, by id.
    """

    rig: Rig
    app: Process
    truth: dict[str, Document] = field(default_factory=dict)

    @property
    def alias(self) -> Alias:
        """The collection as the application has it."""
        return self.app.alias

    def upsert(self, *documents: Document) -> None:
        """Write documents."""
        self.alias.upsert(documents)
        self.truth.update({document.id: document for document in documents})

    def delete(self, *ids: str) -> None:
        """Delete documents."""
        self.alias.delete(list(ids))
        for id in ids:
            self.truth.pop(id, None)

    def delete_where(self, **filter: Any) -> None:
        """Delete the documents whose metadata is so."""
        self.alias.delete(filter=filter)
        for document in list(self.truth.values()):
            if all(document.metadata.get(key) == value for key, value in filter.items()):
                del self.truth[document.id]

    def update_metadata(self, id: str, **changes: Any) -> None:
        """Change a document's metadata; one that is not there is not made."""
        self.alias.update_metadata(id, changes)
        if id in self.truth:
            known = self.truth[id]
            self.truth[id] = replace(known, metadata={**known.metadata, **changes})


Action = Callable[[Stage], None]


def nothing(_: Stage) -> None:
    """Do nothing."""


@dataclass(frozen=True, kw_only=True)
class LifecycleCase:
    """What is in the collection, and what an application does.

    Attributes:
        name: what the case is about.
        documents: written by the application before anything begins.
        foreign: put into the store past the application, as another program wrote them.
        after_start: done while the back-fill runs; the migration is then cancelled, started again, and it is done
        again. after_cutover: done while the target serves; twice, because of the rollback.
        after_rollback: done while the source serves again.
        after_completion: done when only the target is left.
        unfit: whether the new model cannot take a document, so that it is not in the target.
        freeze_s: writers wait during a cutover for at most so long.
        rollback_now: roll back without waiting for what is dirty.
        mirror: as in the configuration.
        to: the model to migrate to; None where only the store changes.
        to_store: the store to migrate to; None where only the model changes.
    """

    name: str
    documents: Sequence[Document] = ()
    foreign: Sequence[Document] = ()
    after_start: Action = nothing
    after_cutover: Action = nothing
    after_rollback: Action = nothing
    after_completion: Action = nothing
    unfit: Callable[[Document], bool] = lambda _: False
    freeze_s: float | None = None
    rollback_now: bool = False
    mirror: str = "journal"
    to: str | None = "new"
    to_store: str | None = None


class Lifecycle:
    """Runs a case through every stage."""

    def __init__(self, case: LifecycleCase, rig: Rig, layout: Layout = Layout.COLLECTION) -> None:
        """Put the documents into the collection.

        Args:
            case: what is in the collection, and what is done with it.
            rig: the collection and everything around it.
            layout: where the target's vectors are put.
        """
        self._layout = layout
        self._case = case
        self._rig = rig
        self._app = rig.process("app")
        self._operator = rig.process("operator")
        self._worker = rig.process("worker")
        self._stage = Stage(rig=rig, app=self._app)
        self._stage.upsert(*case.documents)
        self._put_past_the_application(case.foreign)
        self._reserve = [rig.route().serving]

    def run(self) -> None:
        """Run every stage; an assertion fails at the first difference."""
        self.start()
        self.cancel()
        self.start()
        self.ready()
        self.cutover()
        self.rollback()
        self.cutover()
        self.complete()

    def start(self) -> None:
        """Begin a migration, and let the application work in the middle of the back-fill."""
        self._operator.plane.register(ALIAS, self._case.to, to_store=self._case.to_store, layout=self._layout)
        assert self._migration().is_in_place is (self._layout is Layout.IN_PLACE)
        self._worker.work(self._half_way)
        self._act(self._case.after_start)
        self._compare_serving("start")

    def cancel(self) -> None:
        """Give the migration up; the source serves alone."""
        self._operator.plane.cancel(ALIAS)
        self._moment()
        assert self._migration().phase is Phase.ABORTED
        assert self._rig.route().follower is None
        self._compare_serving("cancel")

    def ready(self) -> None:
        """Let the worker come to the end of its work."""
        self._worker.work_to(Phase.READY)
        assert self._operator.plane.verify(ALIAS)["verdict"] == "pass"
        self._compare_both("ready")

    def cutover(self) -> None:
        """Let the target serve."""
        self._operator.plane.cutover(ALIAS, freeze_s=self._case.freeze_s, accept_quarantine=True)
        assert self._migration().phase is Phase.REVERSING
        self._moment()
        self._compare_both("cutover")
        self._act(self._case.after_cutover)
        if not self._case.rollback_now:
            self._settle()
            self._compare_both("after cutover")
            assert self._operator.plane.verify(ALIAS)["verdict"] == "pass"

    def rollback(self) -> None:
        """Let the source serve again."""
        self._operator.plane.rollback(ALIAS, now=self._case.rollback_now)
        assert self._migration().phase is Phase.ROLLED_BACK
        self._moment()
        self._settle()
        self._compare_both("rollback")
        self._act(self._case.after_rollback)
        self._settle()
        self._compare_both("after rollback")
        assert self._operator.plane.verify(ALIAS)["verdict"] == "pass"

    def complete(self) -> None:
        """Let the source go."""
        self._settle()
        source = self._migration().source
        self._operator.plane.complete(ALIAS)
        assert self._migration().phase is Phase.DONE
        assert self._rig.route().follower is None
        assert self._rig.store(source).describe(source) is None
        self._moment()
        self._compare_serving("completion")
        self._act(self._case.after_completion)
        self._compare_serving("after completion")

    def _half_way(self, migration: Migration) -> bool:
        if migration.phase is not Phase.BACKFILL:
            return migration.phase not in BEFORE_CUTOVER
        _, done, _ = self._worker.plane.ledger.chunk_progress(migration.id)
        return done > 0 or migration.planned

    def _act(self, action: Action) -> None:
        action(self._stage)
        self._moment()

    def _moment(self) -> None:
        """Let clients learn what has changed, and look through every process."""
        self._rig.clock.sleep(_MOMENT_S)
        seen = {process.name: process.alias.count() for process in (self._app, self._operator, self._worker)}
        assert len(set(seen.values())) == 1, f"processes see different numbers of documents: {seen}"

    def _settle(self) -> None:
        """Let the worker carry over what is dirty."""
        worker = self._worker.worker()
        while self._operator.plane.ledger.lag(ALIAS).dirty:
            worker.tick()
            self._rig.clock.sleep(0.1)

    def _migration(self) -> Migration:
        found = self._rig.migration()
        assert found is not None
        return found

    def _unfit(self) -> list[str]:
        return [document.id for document in self._stage.truth.values() if self._case.unfit(document)]

    def _compare_serving(self, stage: str) -> None:
        serving = self._rig.route().serving
        old = serving == self._reserve[0]
        self._report(
            stage, "serving", self._rig.differences(serving, self._expected(), without=() if old else self._unfit())
        )

    def _compare_both(self, stage: str) -> None:
        route = self._rig.route()
        assert route.follower is not None
        for place in (route.serving, route.follower):
            left_out = () if place == self._reserve[0] else self._unfit()
            self._report(stage, place.key, self._rig.differences(place, self._expected(), without=left_out))

    def _expected(self) -> Sequence[Document]:
        return list(self._stage.truth.values())

    def _report(self, stage: str, place: str, faults: Sequence[str]) -> None:
        assert not faults, f"{self._case.name}, {stage}, {place}:\n" + "\n".join(faults)

    def _put_past_the_application(self, documents: Sequence[Document]) -> None:
        place = self._rig.route().serving
        model = self._rig.models["old"]
        for document in documents:
            vectors = self._rig.vector(place.space, document.text)[None, :]
            sequences: Mapping[DocumentId, int] = {}
            self._rig.store(place).upsert(place, stamp([document], vectors, space=model.space, sequences=sequences))
            self._stage.truth[document.id] = document


def run_lifecycle(case: LifecycleCase, rig: Rig, layout: Layout = Layout.COLLECTION) -> None:
    """Run a case through every stage on a rig; see the module."""
    try:
        Lifecycle(case, rig, layout).run()
    finally:
        rig.close()
