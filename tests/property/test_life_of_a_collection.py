"""Whatever applications, workers and operators do, in any order, dying in the middle: no write is lost or comes back.

The real core, a ledger in a file, a store in memory, virtual time. A dictionary knows what each document may be: one
value after an acknowledged write, several after a write whose outcome was unknown.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from undrift import Document
from undrift.adapters.stores.memory import MemoryStore
from undrift.domain.gate import Verdict
from undrift.domain.migration import SYNCING, Phase, RunStatus
from undrift.domain.record import DocumentId, Record
from undrift.domain.route import Mode, VectorField
from undrift.errors import (
    ConflictError,
    ControlUnavailable,
    EmbedderUnavailable,
    GateFailed,
    IllegalTransition,
    NoMigration,
    OutcomeUnknown,
    StoreUnavailable,
    UndriftError,
    WriteTimeout,
)
from undrift.ports.store import Filter
from undrift.testing.faults import Killed, When
from undrift.testing.rig import ALIAS, Process, Rig

KEYS = [f"k{number}" for number in range(6)]
TIMING = {"lease_s": 3.0, "deadline_s": 4.0, "work_lease_s": 5.0, "fence_horizon_s": 2.0, "write_timeout_s": 6.0}
SETTLED = (Phase.READY, Phase.REVERSING, Phase.ROLLED_BACK)
#: What an operator may be told; anything else is a bug.
REFUSALS = (
    ConflictError,
    GateFailed,
    IllegalTransition,
    NoMigration,
    WriteTimeout,
    ControlUnavailable,
    StoreUnavailable,
    EmbedderUnavailable,
)
#: Longer than every lease and horizon together.
AGES_S = 20.0

keys = st.sampled_from(KEYS)
some_keys = st.lists(keys, min_size=1, max_size=3, unique=True)
languages = st.sampled_from(["en", "de"])
apps = st.sampled_from([0, 1])

Possible = list[Document | None]
#: What happens to a process while it does something: it dies at a call, or an answer is lost on the way.
Trouble = Callable[[Process], None]


def dies_at(place: int, when: When) -> Trouble:
    return lambda process: process.faults.kill_at(place, when)


def loses(call: str, when: When, skip: int) -> Trouble:
    kind = StoreUnavailable if call.startswith("store") else ControlUnavailable
    return lambda process: process.faults.fail(call, lambda: kind("it does not answer"), when=when, skip=skip)


def nothing(_: Process) -> None:
    """All goes well."""


def troubles(most_calls: int) -> st.SearchStrategy[Trouble]:
    """Nothing, most of the time; a death between any two of so many calls; an answer that is lost."""
    places, sides = st.integers(0, most_calls), st.sampled_from(When)
    calls = st.sampled_from(["store.", "ledger.", "ledger.open", "ledger.close", "store.upsert", "store.delete"])
    well = st.just(nothing)
    return st.one_of(well, well, st.builds(dies_at, places, sides), st.builds(loses, calls, sides, places))


class TearingStore(MemoryStore):
    """A store that takes a part of a batch, when it is told to, and then does not answer."""

    def __init__(self) -> None:
        super().__init__()
        self.takes: int | None = None

    def upsert(self, field: VectorField, records: Sequence[Record]) -> None:
        super().upsert(field, records[: self.takes])
        self.tear()

    def insert_absent(self, field: VectorField, records: Sequence[Record]) -> None:
        super().insert_absent(field, records[: self.takes])
        self.tear()

    def delete(self, field: VectorField, ids: Sequence[DocumentId], *, filter: Filter | None = None) -> None:
        super().delete(field, ids[: self.takes], filter=filter)
        self.tear()

    def tear(self) -> None:
        if self.takes is not None:
            self.takes = None
            raise StoreUnavailable("the store took a part, and then does not answer")


class LifeOfACollection(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        memory = Path("/dev/shm")
        self.folder = tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None, prefix="undrift-")
        self.store = TearingStore()
        self.rig = Rig(folder=Path(self.folder.name), timing=TIMING, memory=self.store)
        self.down: set[str] = set()
        self.confirmed: set[str] = set()
        self.seen: set[str] = set()
        self.apps = [self.process("app"), self.process("app")]
        self.worker = self.process("worker")
        self.operator = self.process("operator")
        self.possible: dict[str, Possible] = {key: [None] for key in KEYS}
        self.number = 0

    @initialize(there=st.sets(keys), point=st.sampled_from([None, Phase.BACKFILL, Phase.READY, Phase.REVERSING]))
    def begin(self, there: set[str], point: Phase | None) -> None:
        """At some point of a migration, because it takes many steps to come there by chance."""
        documents = [Document(id=key, text=f"{key} as it was", metadata={"lang": "en"}) for key in sorted(there)]
        self.apps[0].alias.upsert(documents)
        self.possible |= {document.id: [document] for document in documents}
        if point is not None:
            self.operator.plane.register(ALIAS, "new")
            self.worker.work_to(Phase.BACKFILL if point is Phase.BACKFILL else Phase.READY)
        if point is Phase.REVERSING:
            self.operator.plane.cutover(ALIAS)

    # Applications

    @rule(app=apps, chosen=some_keys, lang=languages, trouble=troubles(6))
    def upsert(self, app: int, chosen: list[str], lang: str, trouble: Trouble) -> None:
        self.number += 1
        documents = [Document(id=key, text=f"text {self.number}", metadata={"lang": lang}) for key in chosen]
        changes = {one.id: self.always(one) for one in documents}
        self.write(app, trouble, lambda it: it.alias.upsert(documents), changes)

    @rule(app=apps, chosen=some_keys, trouble=troubles(6))
    def delete(self, app: int, chosen: list[str], trouble: Trouble) -> None:
        self.write(app, trouble, lambda it: it.alias.delete(chosen), {key: self.always(None) for key in chosen})

    @rule(app=apps, key=keys, lang=languages, trouble=troubles(6))
    def update_metadata(self, app: int, key: str, lang: str, trouble: Trouble) -> None:
        self.number += 1
        changes = {"lang": lang, "number": self.number}
        self.write(app, trouble, lambda it: it.alias.update_metadata(key, changes), {key: self.merged(changes)})

    @rule(app=apps, lang=languages, trouble=troubles(6))
    def delete_by_filter(self, app: int, lang: str, trouble: Trouble) -> None:
        def without(document: Document | None) -> Document | None:
            return None if document is not None and document.metadata.get("lang") == lang else document

        self.write(app, trouble, lambda it: it.alias.delete(filter={"lang": lang}), dict.fromkeys(KEYS, without))

    @rule(app=apps, chosen=some_keys, takes=st.integers(0, 2))
    def upsert_a_part_of_a_batch(self, app: int, chosen: list[str], takes: int) -> None:
        """The store takes some documents of it, and the client hears nothing."""
        self.store.takes = takes
        try:
            self.upsert(app, chosen, "en", nothing)
        finally:
            self.store.takes = None

    @rule(app=apps)
    def search(self, app: int) -> None:
        """Every answer is of the space that it was asked in; a store that is away is no wrong answer."""
        process = self.apps[app] = self.alive(self.apps[app])
        try:
            hits = process.alias.search("text", k=3)
        except (StoreUnavailable, ControlUnavailable, EmbedderUnavailable):
            return
        assert all(hit.tag is not None and hit.tag.space == hits.space for hit in hits)

    @rule(app=apps)
    def an_application_is_stopped_or_goes_on(self, app: int) -> None:
        """As SIGSTOP does: its heart does not beat. What it does next it does as if no time had passed."""
        self.apps[app].paused = not self.apps[app].paused

    # Workers and time

    @rule(ticks=st.integers(1, 15), trouble=troubles(40))
    def work(self, ticks: int, trouble: Trouble) -> None:
        left = iter(range(ticks))
        self.worker = self.alive(self.worker)
        trouble(self.worker)
        try:
            self.worker.worker(sample=5).run(lambda _: next(left, None) is None)
        except Killed:
            self.worker = self.replaced(self.worker)
        except (ControlUnavailable, StoreUnavailable, EmbedderUnavailable):
            # While it began; a worker that works waits such things out.
            pass
        self.worker.faults.heal()

    @rule(seconds=st.sampled_from([0.5, 2.5, AGES_S]), awake=st.booleans())
    def time_passes(self, seconds: float, awake: bool) -> None:
        """With the machine awake, or asleep, so that nobody's heart beats."""
        (self.rig.clock.sleep if awake else self.rig.clock.advance)(seconds)

    @rule(port=st.sampled_from(["store.", "model."]))
    def something_goes_away_or_comes_back(self, port: str) -> None:
        """The store, or the models, which say that there are too many requests; for everybody, until they are back."""
        self.down ^= {port}

    @rule(ticks=st.integers(1, 8), takes=st.integers(0, 2))
    def work_while_the_store_takes_parts(self, ticks: int, takes: int) -> None:
        self.store.takes = takes
        try:
            self.work(ticks, nothing)
        finally:
            self.store.takes = None

    @rule()
    def everything_is_restarted(self) -> None:
        for process in (*self.apps, self.worker, self.operator):
            if not process.faults.dead:
                process.plane.close()
        self.apps = [self.process("app"), self.process("app")]
        self.worker, self.operator = self.process("worker"), self.process("operator")

    # The operator

    @rule(choice=st.integers(0, 5), trouble=troubles(40))
    def operate(self, choice: int, trouble: Trouble) -> None:
        """Ask for one of the verbs that make sense now."""
        verbs = VERBS[self.phase()]
        verb = verbs[choice % len(verbs)]
        self.operator = self.alive(self.operator)
        trouble(self.operator)
        try:
            verb(self)
        except Killed:
            self.operator = self.replaced(self.operator)
        except UndriftError as error:
            assert isinstance(error, REFUSALS), repr(error)
        self.operator.faults.heal()

    def register(self) -> None:
        self.operator.plane.register(ALIAS, "old" if self.serves("new") else "new")

    def pause(self) -> None:
        self.operator.plane.pause(ALIAS)

    def resume(self) -> None:
        self.operator.plane.resume(ALIAS)

    def verify(self) -> None:
        self.operator.plane.verify(ALIAS, sample=5)

    def cutover(self) -> None:
        self.crossing(lambda: self.operator.plane.cutover(ALIAS))

    def cutover_frozen(self) -> None:
        self.crossing(lambda: self.operator.plane.cutover(ALIAS, freeze_s=2.0))

    def crossing(self, cutover: Callable[[], Any]) -> None:
        """I10: nothing crosses without a passed comparison, nor with documents that could not be carried."""
        before = self.phase()
        try:
            cutover()
        finally:
            if before is not Phase.REVERSING and self.phase() is Phase.REVERSING:
                ledger = self.rig.ledger_within()
                report = ledger.verification(ALIAS)
                assert report is not None
                assert report.verdict is Verdict.PASS
                assert not ledger.quarantined_count(ALIAS)
                state = ledger.alias(ALIAS)
                assert state is not None
                assert not state.needs_reconcile

    def rollback(self) -> None:
        self.operator.plane.rollback(ALIAS)

    def rollback_now(self) -> None:
        self.operator.plane.rollback(ALIAS, now=True)

    def cancel(self) -> None:
        drop = self.number % 2 == 0
        migration = self.rig.migration()
        if drop and migration is not None:
            self.confirmed.add(migration.target.collection)
        self.operator.plane.cancel(ALIAS, drop=drop)

    def complete(self) -> None:
        migration = self.rig.migration()
        if migration is not None:
            self.confirmed.add(migration.source.collection)
        self.operator.plane.complete(ALIAS)

    # What always holds

    @invariant()
    def every_record_is_of_its_field(self) -> None:
        route = self.rig.route()
        for place in (route.serving, route.follower):
            if place is not None and self.rig.store().describe(place) is not None:
                assert not self.rig.mistakes(place)

    @invariant()
    def what_serves_has_every_acknowledged_write(self) -> None:
        """Except those that a hasty rollback left in the other field; writes to them wait."""
        route = self.rig.route()
        served = self.held(route.serving)
        for key in KEYS:
            if key not in self.foreign(route.serving):
                assert served.get(key) in self.allowed(key), f"{key} is {served.get(key)}, not {self.allowed(key)}"

    @invariant()
    def nobody_may_write_past_the_journal_once_the_source_is_read(self) -> None:
        """I5: only adjacent modes live side by side."""
        migration, route = self.rig.migration(), self.rig.route()
        if migration is None or migration.phase not in SYNCING or route.mode is not Mode.JOURNAL:
            return
        for process in self.rig.processes:
            router = process.plane.router
            known = router._routes.get(ALIAS)
            if not process.faults.dead and known is not None and known.mode is Mode.PASSIVE:
                assert not router.may_write(), f"{process.name} may write past the journal"

    @invariant()
    def nothing_is_dropped_that_nobody_asked_to_drop(self) -> None:
        """I11."""
        present = set(self.store.collections)
        self.seen |= present
        assert self.seen - present <= self.confirmed

    @invariant()
    def nothing_halts_a_migration(self) -> None:
        migration = self.rig.migration()
        assert migration is None or migration.run_status is not RunStatus.HALTED, migration.reason

    def teardown(self) -> None:
        try:
            self.end()
        finally:
            self.rig.close()
            self.folder.cleanup()

    def end(self) -> None:
        """When everybody is well again, every migration comes to its end, and both fields hold the same truth."""
        self.down.clear()
        for process in self.rig.processes:
            process.faults.heal()
        last = self.process("worker")
        if self.phase() is None:
            return
        migration = self.rig.migration()
        assert migration is not None
        self.confirmed |= {migration.source.collection} if self.phase() is Phase.RETIRING else set()
        if self.phase() is Phase.RETIRING:
            last.plane.complete(ALIAS)
        if self.phase() is Phase.ABORTING:
            last.plane.cancel(ALIAS)
        with suppress(NoMigration):
            last.plane.resume(ALIAS)
            worker = last.worker(sample=10)
            for _ in range(2000):
                if self.phase() in SETTLED and not last.plane.ledger.lag(ALIAS).dirty:
                    break
                worker.tick()
                self.rig.clock.sleep(0.1)
            assert self.phase() in SETTLED, f"it stays in {self.phase()}"
            assert last.plane.verify(ALIAS, sample=10)["verdict"] == "pass"
        route = self.rig.route()
        for place in (route.serving, route.follower):
            if place is not None:
                held = self.held(place)
                for key in KEYS:
                    assert held.get(key) in self.allowed(key), (
                        f"{place.key}: {key} is {held.get(key)}, not {self.allowed(key)}"
                    )
        if route.follower is not None:
            assert self.held(route.serving) == self.held(route.follower)

    # Means

    def write(
        self,
        app: int,
        trouble: Trouble,
        act: Callable[[Process], Any],
        changes: dict[str, Callable[..., Document | None]],
    ) -> None:
        after = {key: [change(one) for one in self.possible[key]] for key, change in changes.items()}
        process = self.apps[app] = self.alive(self.apps[app])
        trouble(process)
        try:
            act(process)
        except Killed:
            self.apps[app] = self.replaced(process)
            self.unsure(after)
        except (OutcomeUnknown, StoreUnavailable):
            self.unsure(after)
        except (WriteTimeout, ControlUnavailable, EmbedderUnavailable):
            # Nothing was written: it could not begin.
            pass
        else:
            self.possible |= after
        process.faults.heal()

    def unsure(self, after: dict[str, Possible]) -> None:
        for key, values in after.items():
            self.possible[key] = [*self.possible[key], *(one for one in values if one not in self.possible[key])]

    def alive(self, process: Process) -> Process:
        return self.replaced(process) if process.faults.dead else process

    def replaced(self, process: Process) -> Process:
        """A new process in the place of a dead one; every other time the system knows that it is dead."""
        self.rig.kill(process)
        self.rig.roll.known = not self.rig.roll.known
        return self.process(process.name.partition("-")[0])

    def process(self, role: str) -> Process:
        """A process that finds the store and the models away when they are."""
        made = self.rig.process(role)

        def on_call(name: str) -> None:
            if name.startswith(tuple(self.down)):
                kind = StoreUnavailable if name.startswith("store.") else EmbedderUnavailable
                # What is counted and closed needs no connection.
                if not name.endswith((".count_tokens", ".close")):
                    raise kind("it is away")

        made.faults.on_call = on_call
        return made

    @staticmethod
    def always(document: Document | None) -> Callable[..., Document | None]:
        return lambda _: document

    @staticmethod
    def merged(changes: dict[str, Any]) -> Callable[..., Document | None]:
        return lambda one: None if one is None else replace(one, metadata={**one.metadata, **changes})

    def allowed(self, key: str) -> list[tuple[str, dict[str, Any]] | None]:
        return [None if one is None else (one.text, dict(one.metadata)) for one in self.possible[key]]

    def held(self, place: VectorField) -> dict[str, tuple[str, dict[str, Any]]]:
        return {id: (record.text, dict(record.metadata)) for id, record in self.rig.records(place).items()}

    def foreign(self, serving: VectorField) -> set[str]:
        return self.rig.dirty_from_elsewhere(serving)

    def phase(self) -> Phase | None:
        migration = self.rig.migration()
        return None if migration is None or migration.is_final else migration.phase

    def serves(self, model: str) -> bool:
        return self.rig.route().serving.space == self.rig.models[model].space.id


#: What an operator may think of in each phase.
WAITING = (LifeOfACollection.cancel, LifeOfACollection.pause, LifeOfACollection.resume, LifeOfACollection.resume)
VERBS: dict[Phase | None, tuple[Callable[[LifeOfACollection], None], ...]] = {
    None: (LifeOfACollection.register,),
    Phase.REGISTERED: WAITING,
    Phase.JOURNALING: WAITING,
    Phase.BACKFILL: WAITING,
    Phase.CATCHUP: WAITING,
    Phase.VERIFY: (*WAITING, LifeOfACollection.verify),
    Phase.READY: (
        *(LifeOfACollection.cutover, LifeOfACollection.cutover, LifeOfACollection.cutover_frozen),
        *(LifeOfACollection.verify, LifeOfACollection.cancel, LifeOfACollection.pause),
    ),
    Phase.REVERSING: (
        *(LifeOfACollection.rollback, LifeOfACollection.rollback_now, LifeOfACollection.rollback_now),
        *(LifeOfACollection.verify, LifeOfACollection.complete, LifeOfACollection.cutover),
    ),
    Phase.ROLLED_BACK: (
        *(LifeOfACollection.cutover, LifeOfACollection.cutover, LifeOfACollection.rollback),
        *(LifeOfACollection.verify, LifeOfACollection.cancel, LifeOfACollection.resume),
    ),
    Phase.RETIRING: (LifeOfACollection.complete,),
    Phase.ABORTING: (LifeOfACollection.cancel,),
}

TestLifeOfACollection = LifeOfACollection.TestCase
TestLifeOfACollection.settings = settings(
    max_examples=80,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
