"""The life of a collection as a state machine: applications, workers, operators and strangers, in any order.

The real core and its ledger, a store in memory, virtual time. A process may die, stand still or lose an answer at any
call, and others go on meanwhile; its requests may land late. For each document is known what it may be: one value after
an acknowledged write, several while writes are under way or after one whose outcome was unknown.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.property.courses import Course, EventfulClock, Request
from tests.property.troubles import WRITES, Dies, DisturbedStore, Late, Loses, Stands, Trouble, troubles
from tests.property.values import Change, Values
from undrift import Document
from undrift.domain.gate import Verdict
from undrift.domain.migration import SYNCING, Phase, RunStatus
from undrift.domain.operation import Opened
from undrift.domain.record import Record
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
from undrift.testing.faults import Killed, When
from undrift.testing.rig import ALIAS, Process, Rig
from undrift.testing.simulation.ledgerfile import OneConnection

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

#: A process that stands still with a beating heart goes on after so long, as one that waits for an answer does.
AWAKE_S = 1.0
#: What the operators of a collection with strangers ask of every comparison.
ALWAYS, SUSPECTED = "always", "suspected"

keys = st.sampled_from(KEYS)
some_keys = st.lists(keys, min_size=1, max_size=3, unique=True)
languages = st.sampled_from(["en", "de"])
two = st.sampled_from([0, 1])


@dataclass(kw_only=True, eq=False)
class Actor:
    """A process, and what is known of what it does.

    Attributes:
        process: the process.
        course: what it is in the middle of; None when it stands nowhere.
        stands: where it is to stand still; `left` calls before it.
        late: how many writes of it pass before one is late; None when none is to be.
        opened: until when a write that it has opened may be sent; None while none is open.
        lease_until: until when it may write without asking.
        work_until: until when it may carry over what it has taken.
        write: the number of the write that it is making.
        is_sending: whether it stands after its last look at the clock.
    """

    process: Process
    course: Course | None = None
    stands: Stands | None = None
    left: int = 0
    late: int | None = None
    opened: float | None = None
    lease_until: float = 0.0
    work_until: float = 0.0
    write: int | None = None
    is_sending: bool = False


class LifeOfACollection(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        memory = Path("/dev/shm")
        self.folder = tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None, prefix="undrift-")
        self.store = DisturbedStore()
        self.clock = EventfulClock()
        folder, self.database = Path(self.folder.name), OneConnection()
        self.rig = Rig(folder=folder, timing=TIMING, memory=self.store, clock=self.clock, database=self.database)
        self.down: set[str] = set()
        self.confirmed: set[str] = set()
        self.seen: set[str] = set()
        self.values = {key: Values(None) for key in KEYS}
        self.flying: list[Request] = []
        self.strangers: dict[str, str] = {}
        self.bypassed: set[str] = set()
        self.errors: list[BaseException] = []
        self.number = 0
        self.mishaps = 0

    @initialize(
        there=st.sets(keys),
        point=st.sampled_from([None, Phase.BACKFILL, Phase.READY, Phase.REVERSING]),
        remote=st.booleans(),
        strangers=st.sampled_from([False, False, True]),
        lags=st.sampled_from([False, False, True]),
    )
    def begin(
        self, there: set[str], point: Phase | None, remote: bool = True, strangers: bool = False, lags: bool = False
    ) -> None:
        """At some point of a migration, because it takes many steps to come there by chance."""
        self.store.is_remote = remote
        self.store.lag_s, self.store.monotonic = 1.5 if lags else 0.0, self.clock.monotonic
        self.rig.reconcile = ALWAYS if strangers else SUSPECTED
        self.apps = [self.actor("app"), self.actor("app")]
        self.workers = [self.actor("worker"), self.actor("worker")]
        self.operator = self.actor("operator")
        documents = [Document(id=key, text=f"{key} as it was", metadata={"lang": "en"}) for key in sorted(there)]
        self.apps[0].process.alias.upsert(documents)
        self.apps[1].process.alias.count()
        self.values |= {document.id: Values(document) for document in documents}
        if point is not None:
            self.operator.process.plane.register(ALIAS, "new")
            self.workers[0].process.work_to(Phase.BACKFILL if point is Phase.BACKFILL else Phase.READY)
        if point is Phase.REVERSING:
            self.cutover()

    # Applications

    @rule(app=two, chosen=some_keys, lang=languages, trouble=troubles(6))
    def upsert(self, app: int, chosen: list[str], lang: str = "en", trouble: Trouble = None) -> None:
        self.number += 1
        documents = [Document(id=key, text=f"text {self.number}", metadata={"lang": lang}) for key in chosen]
        changes = {one.id: self.always(one) for one in documents}
        self.write(app, trouble, lambda it: it.alias.upsert(documents), changes)

    @rule(app=two, chosen=some_keys, trouble=troubles(6))
    def delete(self, app: int, chosen: list[str], trouble: Trouble = None) -> None:
        self.write(app, trouble, lambda it: it.alias.delete(chosen), {key: self.always(None) for key in chosen})

    @rule(app=two, key=keys, lang=languages, trouble=troubles(6))
    def update_metadata(self, app: int, key: str, lang: str, trouble: Trouble = None) -> None:
        self.number += 1
        changes = {"lang": lang, "number": self.number}
        self.write(app, trouble, lambda it: it.alias.update_metadata(key, changes), {key: self.merged(changes)})

    @rule(app=two, lang=languages, trouble=troubles(6))
    def delete_by_filter(self, app: int, lang: str, trouble: Trouble = None) -> None:
        if self.store.lag_s:
            # It may overlook what was inserted a moment ago.
            return

        def without(document: Document | None) -> Document | None:
            return None if document is not None and document.metadata.get("lang") == lang else document

        self.write(app, trouble, lambda it: it.alias.delete(filter={"lang": lang}), dict.fromkeys(KEYS, without))

    @rule(app=two, chosen=some_keys, takes=st.integers(0, 2))
    def upsert_a_part_of_a_batch(self, app: int, chosen: list[str], takes: int) -> None:
        """The store takes some documents of it, and the client hears nothing."""
        self.goes_on(self.apps[app])
        self.store.takes = takes
        self.mishaps += 1
        try:
            self.upsert(app, chosen)
        finally:
            self.store.takes = None

    @rule(app=two)
    def search(self, app: int) -> None:
        """Every answer is of the space that it was asked in; a store that is away is no wrong answer."""
        actor = self.apps[app] = self.alive(self.apps[app])
        try:
            hits = actor.process.alias.search("text", k=3)
        except (StoreUnavailable, ControlUnavailable, EmbedderUnavailable):
            return
        assert all(hit.tag is not None and hit.tag.space == hits.space for hit in hits)

    @rule(app=two)
    def an_application_is_stopped_or_goes_on(self, app: int) -> None:
        """As SIGSTOP does: its heart does not beat. What it does next it does as if no time had passed."""
        self.apps[app] = self.alive(self.apps[app])
        self.mishaps += 1
        self.apps[app].process.paused = not self.apps[app].process.paused

    @rule(app=two, is_answered=st.booleans())
    def an_application_in_the_middle_goes_on(self, app: int, is_answered: bool = True) -> None:
        """And hears of what it does next, or not; one that is so late that nobody counts on it has to hear of it."""
        actor = self.apps[app]
        if actor.course is not None and not is_answered and not actor.is_sending:
            self.mishaps += 1
            actor.process.faults.fail("store.", partial(StoreUnavailable, "it does not answer"), when=When.AFTER)
        self.goes_on(actor)

    # Strangers

    @rule(key=keys, serving=st.booleans(), deletes=st.booleans())
    def bypass_write(self, key: str, serving: bool = True, deletes: bool = False) -> None:
        """Somebody writes to the store who knows nothing of undrift; only where such people are reckoned with."""
        route = self.rig.route()
        place = route.serving if serving else route.follower
        if self.rig.reconcile == SUSPECTED or place is None or place.collection not in self.store.collections:
            return
        self.number += 1
        text = None if deletes else f"a text of a stranger {self.number}"
        document = None if text is None else Document(id=key, text=text)
        journal = self.rig.ledger_within().journal_state(ALIAS, [document.id]) if document else {}
        is_alone = not any(is_dirty for is_dirty, _ in journal.values()) and self.values[key].is_settled
        self.store.bypass(place, key, text)
        self.bypassed.add(key)
        # A cutover, or a write through undrift that is under way, may decide otherwise.
        self.values[key].begins(-self.number, self.always(document))
        self.values[key].over(-self.number)
        self.strangers.pop(key, None)
        # Before a cutover the field that serves is the authority; after it, what is in the other one is set aside.
        if text is not None and is_alone and (serving or self.phase() is Phase.REVERSING):
            self.strangers[key] = text

    # Workers and time

    @rule(worker=two, ticks=st.integers(1, 15), trouble=troubles(40))
    def work(self, ticks: int, worker: int = 0, trouble: Trouble = None) -> None:
        left = iter(range(ticks))
        actor = self.workers[worker] = self.alive(self.workers[worker])

        def ended(error: BaseException | None) -> None:
            if isinstance(error, Killed):
                self.workers[worker] = self.replaced(actor)
            # While it began; a worker that works waits such things out.
            elif error is not None and not isinstance(
                error, (ControlUnavailable, StoreUnavailable, EmbedderUnavailable)
            ):
                raise error

        self.do(actor, trouble, lambda: actor.process.worker(sample=5).run(lambda _: next(left, None) is None), ended)

    @rule(worker=two)
    def a_worker_in_the_middle_goes_on(self, worker: int) -> None:
        self.goes_on(self.workers[worker])

    @rule()
    def late_requests_arrive(self) -> None:
        self.land(list(self.flying))

    @rule(seconds=st.sampled_from([0.5, 2.5, AGES_S]), awake=st.booleans())
    def time_passes(self, seconds: float, awake: bool = True) -> None:
        """With the machine awake, or asleep, so that nobody's heart beats."""
        (self.rig.clock.sleep if awake else self.rig.clock.advance)(seconds)

    @rule(port=st.sampled_from(["store.", "model."]))
    def something_goes_away_or_comes_back(self, port: str) -> None:
        """The store, or the models, which say that there are too many requests; for everybody, until they are back."""
        self.mishaps += 1
        self.down ^= {port}

    @rule(worker=two, ticks=st.integers(1, 8), takes=st.integers(0, 2))
    def work_while_the_store_takes_parts(self, ticks: int, takes: int, worker: int = 0) -> None:
        self.goes_on(self.workers[worker])
        self.store.takes = takes
        self.mishaps += 1
        try:
            self.work(ticks, worker)
        finally:
            self.store.takes = None

    @rule()
    def everything_is_restarted(self) -> None:
        self.mishaps += 1
        for actor in self.actors():
            self.goes_on(actor)
            if not actor.process.faults.dead:
                actor.process.plane.close()
        self.apps = [self.actor("app"), self.actor("app")]
        self.workers = [self.actor("worker"), self.actor("worker")]
        self.operator = self.actor("operator")

    # The operator

    @rule(choice=st.integers(0, 5), trouble=troubles(40, stands=False))
    def operate(self, choice: int, trouble: Trouble = None) -> None:
        """Ask for one of the verbs that make sense now."""
        verbs = VERBS[self.phase()]
        self.ask(verbs[choice % len(verbs)], trouble)

    def ask(self, verb: Callable[[LifeOfACollection], None], trouble: Trouble) -> None:
        self.mishaps += 1
        actor = self.operator = self.alive(self.operator)

        def ended(error: BaseException | None) -> None:
            if isinstance(error, Killed):
                self.operator = self.replaced(actor)
            elif error is not None:
                assert isinstance(error, REFUSALS), repr(error)

        self.do(actor, trouble, lambda: verb(self), ended)

    def register(self) -> None:
        self.operator.process.plane.register(ALIAS, "old" if self.serves("new") else "new")

    def pause(self) -> None:
        self.operator.process.plane.pause(ALIAS)

    def resume(self) -> None:
        self.operator.process.plane.resume(ALIAS)

    def verify(self) -> None:
        self.operator.process.plane.verify(ALIAS, sample=5)

    def reconcile(self) -> None:
        self.operator.process.plane.reconcile(ALIAS)

    def cutover(self) -> None:
        self.crossing(lambda: self.operator.process.plane.cutover(ALIAS))

    def cutover_frozen(self) -> None:
        self.crossing(lambda: self.operator.process.plane.cutover(ALIAS, freeze_s=2.0))

    def crossing(self, cutover: Callable[[], Any]) -> None:
        """I10: nothing crosses without a passed comparison, nor with documents that could not be carried."""
        if self.rig.reconcile == ALWAYS:
            self.operator.process.plane.reconcile(ALIAS)
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
        self.operator.process.plane.rollback(ALIAS)

    def rollback_now(self) -> None:
        self.operator.process.plane.rollback(ALIAS, now=True)

    def cancel(self) -> None:
        drop = self.number % 2 == 0
        migration = self.rig.migration()
        if drop and migration is not None:
            self.confirmed.add(migration.target.collection)
        self.operator.process.plane.cancel(ALIAS, drop=drop)

    def complete(self) -> None:
        migration = self.rig.migration()
        if migration is not None:
            self.confirmed.add(migration.source.collection)
        self.operator.process.plane.complete(ALIAS)

    # What always holds

    @invariant()
    def every_record_is_of_its_field(self) -> None:
        route = self.rig.route()
        for place in (route.serving, route.follower):
            if place is not None and self.rig.store().describe(place) is not None:
                strange = tuple(f"{id!r}: " for id, text in self.texts(place).items() if "stranger" in text)
                with self.store.seen_as_it_is():
                    mistakes = self.rig.mistakes(place)
                wrong = [one for one in mistakes if not strange or not one.startswith(strange)]
                assert not wrong, f"{place.key}: {wrong}"

    @invariant()
    def what_serves_has_every_acknowledged_write(self) -> None:
        """Except those that a hasty rollback left in the other field; writes to them wait."""
        route = self.rig.route()
        served = self.held(route.serving)
        for key in KEYS:
            if key not in self.foreign(route.serving):
                assert served.get(key) in self.allowed(key), f"{key} is {served.get(key)}, not {self.allowed(key)}"

    @invariant()
    def the_ledger_knows_where_the_fields_differ(self) -> None:
        """I6: such a document is dirty, or its piece is not published yet; or a stranger wrote it."""
        migration, route = self.rig.migration(), self.rig.route()
        if migration is None or route.follower is None or migration.phase not in SYNCING:
            return
        here, there = self.held(route.serving), self.held(route.follower)
        for key in KEYS:
            if here.get(key) == there.get(key) or key in self.bypassed:
                continue
            touched = self.database.read("SELECT state FROM dirty WHERE alias = ? AND key = ?", (ALIAS, key))
            piece = "SELECT min(state) FROM chunk WHERE migration = ? AND lo < ? AND ? <= hi"
            ((published,),) = self.database.read(piece, (migration.id, key, key))
            is_to_come = not migration.planned if published is None else published != 3
            assert touched == [(1,)] or (not touched and is_to_come), (
                f"{key} is {here.get(key)} in {route.serving.key} and {there.get(key)} in {route.follower.key}, "
                "and nothing says so"
            )

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

    @invariant()
    def nobody_was_told_what_cannot_be(self) -> None:
        """What went wrong on a thread that the clock let go on."""
        if self.errors:
            raise self.errors[0]

    def look(self) -> None:
        """Look at everything that always holds, as Hypothesis does after every step."""
        self.every_record_is_of_its_field()
        self.what_serves_has_every_acknowledged_write()
        self.the_ledger_knows_where_the_fields_differ()
        self.nobody_may_write_past_the_journal_once_the_source_is_read()
        self.nothing_is_dropped_that_nobody_asked_to_drop()
        self.nothing_halts_a_migration()
        self.nobody_was_told_what_cannot_be()

    def teardown(self) -> None:
        try:
            if self.rig.processes:
                self.end()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go of every thread and file; a test that failed leaves processes in the middle of something."""
        for actor in self.actors():
            actor.process.faults.dead = True
            while actor.course is not None and not actor.course.over:
                with suppress(BaseException):
                    actor.course.go_on()
        self.rig.close()
        self.database.destroy()
        self.folder.cleanup()

    def end(self) -> None:
        """When everybody is well again, every migration comes to its end, and both fields hold the same truth."""
        for actor in self.actors():
            self.goes_on(actor)
        self.land(list(self.flying))
        self.down.clear()
        for process in self.rig.processes:
            process.faults.heal()
        last = self.actor("worker").process
        self.nobody_was_told_what_cannot_be()
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
            self.comes_to_rest(last)
            if self.rig.reconcile == ALWAYS:
                self.strangers_are_found(last)
            assert last.plane.verify(ALIAS, sample=10)["verdict"] == "pass"
            self.everything_once_more_changes_nothing(last)
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

    def comes_to_rest(self, last: Process) -> None:
        """I9: with nobody in its way, a migration goes as far as it can by itself."""
        worker = last.worker(sample=10)
        for _ in range(2000):
            if self.phase() in SETTLED and not last.plane.ledger.lag(ALIAS).dirty:
                break
            worker.tick()
            self.clock.sleep(0.1)
        assert self.phase() in SETTLED, f"it stays in {self.phase()}"

    def strangers_are_found(self, last: Process) -> None:
        """What strangers wrote is found, and either it is in both fields in the end or it was told and set aside."""
        for _ in range(3):
            last.plane.reconcile(ALIAS, scans=3)
        route = self.rig.route()
        served, aside = self.texts(route.serving), last.plane.ledger.quarantined(ALIAS, limit=100)
        for key, text in self.strangers.items():
            assert served.get(key) == text or key in {one.key for one in aside}, f"{text!r} of {key} is gone in silence"
        if self.phase() is Phase.REVERSING:
            last.plane.adopt(ALIAS)
            last.plane.reconcile(ALIAS, scans=3)

    def everything_once_more_changes_nothing(self, last: Process) -> None:
        """I8: whatever is done again has nothing to do, and asks no model for a text once more."""
        route = self.rig.route()
        places = [place for place in (route.serving, route.follower) if place is not None]
        before = [dict(self.store.collections[place.collection].rows) for place in places]
        asked = last.faults.calls.count("model.embed_documents")
        worker = last.worker(sample=0)
        for _ in range(3):
            worker.tick()
        assert last.plane.reconcile(ALIAS)["verdict"] == "pass"
        assert last.plane.verify(ALIAS, sample=0)["verdict"] == "pass"
        assert [dict(self.store.collections[place.collection].rows) for place in places] == before
        assert last.faults.calls.count("model.embed_documents") == asked
        assert not last.plane.ledger.lag(ALIAS).dirty

    # Means

    def write(self, app: int, trouble: Trouble, act: Callable[[Process], Any], changes: dict[str, Change]) -> None:
        actor = self.apps[app] = self.alive(self.apps[app])
        self.number += 1
        write = self.number
        actor.write = write
        for key, change in changes.items():
            self.strangers.pop(key, None)
            self.values[key].begins(write, change)

        def ended(error: BaseException | None) -> None:
            actor.write = None
            if isinstance(error, Killed):
                self.apps[app] = self.replaced(actor)
            if error is None:
                self.tell(write, Values.acknowledged)
            elif isinstance(error, (Killed, OutcomeUnknown, StoreUnavailable)):
                if not any(request.write == write for request in self.flying):
                    self.tell(write, Values.over)
            elif isinstance(error, (WriteTimeout, ControlUnavailable, EmbedderUnavailable)):
                # Nothing was written: it could not begin.
                self.tell(write, Values.refused)
            else:
                raise error

        self.do(actor, trouble, lambda: act(actor.process), ended)

    def tell(self, write: int, what: Callable[[Values, int], None]) -> None:
        for value in self.values.values():
            what(value, write)

    def do(
        self, actor: Actor, trouble: Trouble, act: Callable[[], Any], ended: Callable[[BaseException | None], None]
    ) -> None:
        """Let a process do something, with whatever happens to it in the middle."""
        faults = actor.process.faults
        actor.late, actor.stands = None, None
        self.mishaps += trouble is not None
        match trouble:
            case Dies(place=place, when=when):
                faults.kill_at(place, when)
            case Loses(call=call, when=when, skip=skip):
                kind = StoreUnavailable if call.startswith("store") else ControlUnavailable
                faults.fail(call, partial(kind, "it does not answer"), when=when, skip=skip)
            case Late(skip=skip):
                actor.late = skip
            case Stands(place=place):
                actor.stands, actor.left = trouble, place
            case None:
                pass

        def performed() -> None:
            error: BaseException | None = None
            try:
                act()
            except (Killed, UndriftError) as raised:
                error = raised
            actor.late, actor.stands = None, None
            faults.heal()
            ended(error)

        if isinstance(trouble, Stands):
            actor.course = Course(performed)
            self.runs(actor)
        else:
            performed()

    def runs(self, actor: Actor) -> None:
        """Let a process go on on the thread of its own, until it stands still again or is done."""
        course = actor.course
        assert course is not None
        try:
            course.go_on()
        finally:
            if course.over:
                actor.course = None

    def goes_on(self, actor: Actor) -> None:
        """Let a process that stands still end what it is in the middle of."""
        if actor.course is not None and actor.course.is_standing:
            actor.process.paused = False
            self.runs(actor)

    def stand_still(self, actor: Actor) -> None:
        course, stands = actor.course, actor.stands
        assert course is not None
        assert stands is not None
        actor.stands = None
        if stands.awake:
            self.clock.at(self.clock.monotonic() + AWAKE_S, lambda: self.wake(actor, course))
        else:
            actor.process.paused = True
        course.stand_still()

    def wake(self, actor: Actor, course: Course) -> None:
        if actor.course is course:
            try:
                self.goes_on(actor)
            except BaseException as error:
                self.errors.append(error)

    def reaches(self, actor: Actor, name: str, when: When) -> None:
        """Let a process stand still here, if it is the place where it should.

        Only a client that has opened its write can be so slow to send it: nothing else would tell of a request that
        left after its lease. Others stand still when such a call has been answered.
        """
        stands, course = actor.stands, actor.course
        if stands is None or course is None or not course.is_here:
            return
        if when is When.BEFORE and name.startswith(stands.call):
            actor.left -= 1
        may_be_late = name not in WRITES or actor.opened is not None or (stands.awake and actor.write is not None)
        if actor.left < 0 and (when is When.AFTER or (stands.when is When.BEFORE and may_be_late)):
            actor.is_sending = when is When.BEFORE and name in WRITES
            self.stand_still(actor)

    def flies(self, actor: Actor, act: Callable[[], None]) -> None:
        """Let a write be under way until its time has come."""
        sent_under = actor.opened if actor.opened is not None else actor.lease_until
        if actor.write is None:
            sent_under = actor.work_until
        now = self.clock.monotonic()
        latest = max(now, sent_under + TIMING["fence_horizon_s"] * 0.99)
        request = Request(lands=act, latest=latest, sender=actor.process.name, write=actor.write)
        self.flying.append(request)
        self.clock.at(latest, lambda: self.land([request]))

    def land(self, requests: list[Request]) -> None:
        for request in requests:
            if request in self.flying:
                self.flying.remove(request)
                with suppress(UndriftError):
                    request.lands()
                if request.write is not None:
                    self.tell(request.write, Values.over)

    def actors(self) -> list[Actor]:
        return [*self.apps, *self.workers, self.operator] if self.rig.processes else []

    def alive(self, actor: Actor) -> Actor:
        """Return a process that can be asked for something: it has ended what it was in the middle of."""
        self.goes_on(actor)
        return self.replaced(actor) if actor.process.faults.dead else actor

    def replaced(self, actor: Actor) -> Actor:
        """A new process in the place of a dead one; every other time the system knows that it is dead."""
        self.rig.kill(actor.process)
        self.rig.roll.known = not self.rig.roll.known
        return self.actor(actor.process.name.partition("-")[0])

    def actor(self, role: str) -> Actor:
        """A process that finds the store and the models away when they are."""
        actor = Actor(process=self.rig.process(role))

        def on_call(name: str) -> None:
            now = self.clock.monotonic()
            if name in ("ledger.register_client", "ledger.renew"):
                actor.lease_until = now + TIMING["lease_s"]
            if name in ("ledger.claim", "ledger.lease_chunk", "ledger.publish"):
                actor.work_until = now + TIMING["work_lease_s"]
            self.reaches(actor, name, When.BEFORE)
            if name.startswith(tuple(self.down)):
                kind = StoreUnavailable if name.startswith("store.") else EmbedderUnavailable
                # What is counted and closed needs no connection.
                if not name.endswith((".count_tokens", ".close")):
                    raise kind("it is away")
            if name in WRITES and actor.late is not None and self.store.is_remote:
                if name not in ("store.create", "store.drop") and actor.late == 0:
                    self.store.postpone = partial(self.flies, actor)
                actor.late = actor.late - 1 if actor.late else None

        def on_answer(name: str, answer: object) -> None:
            if name == "ledger.open":
                actor.opened = self.clock.monotonic() + TIMING["deadline_s"] if isinstance(answer, Opened) else None
            if name == "ledger.close":
                actor.opened = None
            self.reaches(actor, name, When.AFTER)

        actor.process.faults.on_call, actor.process.faults.on_answer = on_call, on_answer
        return actor

    @staticmethod
    def always(document: Document | None) -> Change:
        return lambda _: document

    @staticmethod
    def merged(changes: dict[str, Any]) -> Change:
        return lambda one: None if one is None else replace(one, metadata={**one.metadata, **changes})

    def allowed(self, key: str) -> list[tuple[str, dict[str, Any]] | None]:
        return [None if one is None else (one.text, dict(one.metadata)) for one in self.values[key].now()]

    def records(self, place: VectorField) -> dict[str, Record]:
        with self.store.seen_as_it_is():
            return self.rig.records(place)

    def texts(self, place: VectorField) -> dict[str, str]:
        return {id: record.text for id, record in self.records(place).items()}

    def held(self, place: VectorField) -> dict[str, tuple[str, dict[str, Any]]]:
        return {id: (record.text, dict(record.metadata)) for id, record in self.records(place).items()}

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
        LifeOfACollection.reconcile,
        *(LifeOfACollection.cutover, LifeOfACollection.cutover, LifeOfACollection.cutover_frozen),
        *(LifeOfACollection.verify, LifeOfACollection.cancel, LifeOfACollection.pause),
    ),
    Phase.REVERSING: (
        *(LifeOfACollection.rollback, LifeOfACollection.rollback_now, LifeOfACollection.rollback_now),
        *(LifeOfACollection.verify, LifeOfACollection.complete, LifeOfACollection.reconcile),
    ),
    Phase.ROLLED_BACK: (
        *(LifeOfACollection.cutover, LifeOfACollection.cutover, LifeOfACollection.rollback),
        *(LifeOfACollection.verify, LifeOfACollection.cancel, LifeOfACollection.resume),
    ),
    Phase.RETIRING: (LifeOfACollection.complete,),
    Phase.ABORTING: (LifeOfACollection.cancel,),
}
