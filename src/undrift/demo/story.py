"""The story of the demo: a collection changes its model, goes back, and changes again, while it is in use."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from undrift.control.plane import ControlPlane
from undrift.demo import report as told
from undrift.demo.actors import HITS
from undrift.demo.answers import Answers, Model, examine
from undrift.demo.check import Findings, judge, read_field
from undrift.demo.expected import Expectation
from undrift.demo.history import Histories, read
from undrift.demo.scene import ALIAS, GOLDEN_SET, NEW_MODEL, OLD_MODEL, Scene
from undrift.demo.script import Role, Script
from undrift.demo.stage import PATIENCE_S, Stage
from undrift.domain.migration import Migration, Phase, RunStatus
from undrift.domain.route import AliasName, VectorField
from undrift.errors import BackendError, GateFailed

Report = Callable[[str], None]
#: Told a label, how much is done, and of how much.
ShowProgress = Callable[[str, int, int], None]

#: The share of the back-fill after which a worker is killed.
_KILL_AT = 0.4
#: Operations that every actor gets acknowledged between two acts.
_OPERATIONS = 40
#: Documents that are not in the other field yet when the collection is rolled back.
_DIRTY = 20
_KEEP_HINT = "undrift demo --keep DIR"
_CHANGING = (Role.WRITER, Role.DELETER)
_KB = AliasName(ALIAS)


@dataclass(slots=True, kw_only=True)
class Story:
    """One demo while it runs.

    Attributes:
        plane: the control plane of the demo's own collection.
        stage: the processes.
        scene: documents, questions and parts.
        report: told one sentence at a time.
        progress: told a label, how much is done, and of how much.
        space_at: the space that served at each epoch so far.
        acts: name and monotonic beginning of each act so far.
    """

    plane: ControlPlane
    stage: Stage
    scene: Scene
    report: Report
    progress: ShowProgress
    space_at: dict[int, str] = field(default_factory=dict)
    acts: list[tuple[str, float]] = field(default_factory=list)

    def tell(self) -> dict[str, Any]:
        """Play all acts, and count."""
        self._act("load")
        self._load()
        self._act("traffic begins")
        self._begin_traffic()
        before = self._quality()
        self._act("back-fill")
        self._back_fill()
        self._act("cutover")
        self._cutover()
        self._act("rollback")
        self._roll_back()
        self._act("cutover again")
        self._cutover()
        after = self._quality()
        self._act("check")
        findings = self._check()
        self._act("completion")
        migration, remaining = self._complete()
        self._act("count")
        histories = read(self.stage.histories)
        return told.result(
            loaded=len(self.scene.initial),
            documents=self.plane.alias(ALIAS).count(),
            histories=histories,
            answers=self._answers(histories),
            findings=findings | remaining,
            kills=self.stage.kills,
            quality=(before, after),
            migration=migration,
            acts=self.acts,
        )

    def _act(self, name: str) -> None:
        self.acts.append((name, time.monotonic()))

    def _load(self) -> None:
        total = len(self.scene.initial)
        self.plane.put(ALIAS, self.scene.documents, lambda done: self.progress("load", done, total))
        self._note_route()
        shown = f"model {OLD_MODEL} ({self._shown(OLD_MODEL)})"
        self.report(f"{total:,} documents {self.scene.what} are searched with {shown}")

    def _begin_traffic(self) -> None:
        for script in self.scene.casting:
            self.stage.start(script)
        self.stage.traffic(_OPERATIONS)
        self.report("2 searchers, 2 writers and a deleter are at work, each a process of its own")

    def _quality(self) -> dict[str, Any] | None:
        """Measure the field that serves, with what a person would use for it."""
        if self.scene.golden is None:
            return None
        self.plane.ledger.save_golden(GOLDEN_SET, self.scene.golden.as_dict())
        found = self.plane.run_golden(GOLDEN_SET, ALIAS)
        model = self._served_by()
        self.report(f"quality with model {model}: nDCG@10 {found['ndcg_at_10']:.3f} over {found['queries']} questions")
        return found

    def _back_fill(self) -> None:
        plan = self.plane.plan(ALIAS, NEW_MODEL)
        shown = f"model {NEW_MODEL} ({self._shown(NEW_MODEL)})"
        self.report(f"plan: {plan['documents']:,} documents to {shown}, {plan['tokens']:,} tokens")
        self.plane.register(ALIAS, NEW_MODEL)
        self._start_worker(1)
        self._start_worker(2)
        self.stage.wait(lambda: self._is_filled(_KILL_AT), "the back-fill", moving=lambda: self._filled()[0])
        done, total, phase = self._filled()
        self.stage.kill("worker-1")
        self.report(
            f"a worker was killed (SIGKILL) in phase {phase}, with {done:,} of {total:,} documents carried over"
        )
        self._start_worker(3)
        lease_s = self.plane.timing.work_lease_s
        self.report(f"another worker begins; what the dead one held is free again after {lease_s:g} s at the latest")
        self.stage.wait(
            lambda: self._filled()[2] == Phase.READY.value, "the verification", moving=lambda: self._filled()[0]
        )
        self._note_route()
        verification = self.plane.ledger.verification(_KB)
        if verification is not None:
            compared, sampled = f"{verification.compared:,}", f"{verification.sampled:,}"
            self.report(f"verified: both fields are equal in {compared} documents, {sampled} of them embedded again")
        self.stage.traffic(_OPERATIONS)

    def _cutover(self) -> None:
        self._insist(lambda: self.plane.cutover(ALIAS))
        self._note_route()
        self.report(f"cut over: model {self._served_by()} serves since epoch {max(self.space_at)}")
        self.stage.traffic(_OPERATIONS)

    def _roll_back(self) -> None:
        self.plane.pause(ALIAS)
        self.stage.wait(lambda: self.plane.ledger.lag(_KB).dirty >= _DIRTY, "writes while the workers pause")
        dirty = self.plane.ledger.lag(_KB).dirty
        self.plane.rollback(ALIAS, now=True)
        self._note_route()
        self.report(
            f"rolled back at once; the last writes to {dirty} documents, only in the new field, were carried back"
        )
        self.plane.resume(ALIAS)
        self.stage.traffic(_OPERATIONS)

    def _check(self) -> Findings:
        self.stage.rest(_CHANGING)
        self.stage.wait(self._is_settled, "the last writes to be carried over")
        route = self.plane.ledger.route(_KB)
        if route is None or route.follower is None:
            raise BackendError(f"alias {ALIAS} of the demo lost its second field", hint=_KEEP_HINT)
        findings = self._judge(route.serving, route.follower)
        self.report(f"checked: {findings.checked:,} documents of both fields against all that was written to them")
        self.stage.go_on(_CHANGING)
        return findings

    def _complete(self) -> tuple[Migration, Findings]:
        self.stage.traffic(_OPERATIONS)
        self._insist(lambda: self.plane.complete(ALIAS))
        self._note_route()
        self.report("completed: the old field is dropped, and writes are not journaled any more")
        self.stage.traffic(_OPERATIONS)
        self.stage.stop(Role)
        state = self.plane.ledger.alias(_KB)
        if state is None or state.migration is None:
            raise BackendError(f"the ledger of the demo lost alias {ALIAS}", hint=_KEEP_HINT)
        return state.migration, self._judge(state.route.serving, None)

    def _judge(self, serving: VectorField, follower: VectorField | None) -> Findings:
        total = sum(self._count(place) for place in (serving, follower) if place)
        expected = Expectation(self.scene.initial, read(self.stage.histories).operations)
        done = 0
        fields = []
        for place in filter(None, (serving, follower)):
            start = done
            embed = self.plane.model_door(self._model_of(place)).fresh
            found = read_field(
                self.plane.store_of(place),
                place,
                embed,
                on_progress=lambda count, start=start: self.progress("check", start + count, total),  # type: ignore[misc]
            )
            done += len(found)
            fields.append(found)
        return judge(expected, fields[0], fields[1] if len(fields) > 1 else None)

    def _answers(self, histories: Histories) -> Answers:
        models = {
            self.plane.model_door(name).space.id: Model(
                question=self.plane.model_door(name).query, documents=self.plane.model_door(name).fresh
            )
            for name in (OLD_MODEL, NEW_MODEL)
        }
        return examine(
            histories.searches,
            at_least=min(HITS, self.scene.never_deleted),
            space_at=self.space_at,
            models={str(space): model for space, model in models.items()},
        )

    def _insist(self, verb: Callable[[], Any]) -> None:
        """Do what an operator does whom a gate refuses because too much is being written at the moment: try again."""
        end = time.monotonic() + PATIENCE_S
        told_last = ""
        while True:
            try:
                verb()
            except GateFailed as error:
                if time.monotonic() > end:
                    raise
                refused = f"{error.message}: {error.detail}".replace("\n", ", ")
                if refused != told_last:
                    self.report(f"{refused}; tried again")
                told_last = refused
                self.stage.watch()
            else:
                return

    def _start_worker(self, number: int) -> None:
        self.stage.start(Script(name=f"worker-{number}", role=Role.WORKER, folder=self.scene.folder))

    def _filled(self) -> tuple[int, int, str]:
        state = self.plane.glance(ALIAS)
        if state["run_status"] == RunStatus.HALTED.value:
            raise BackendError("the migration of the demo was halted", str(state["waiting_for"]), _KEEP_HINT)
        done, total = state["progress"]["done"], state["progress"]["total"]
        if total:
            self.progress("back-fill", done, total)
        return done, total, state["phase"]

    def _is_filled(self, share: float) -> bool:
        done, total, phase = self._filled()
        begun = phase not in (Phase.REGISTERED.value, Phase.JOURNALING.value)
        return begun and (done >= share * total > 0 or phase != Phase.BACKFILL.value)

    def _is_settled(self) -> bool:
        lag = self.plane.ledger.lag(_KB)
        return not lag.dirty and not lag.open

    def _note_route(self) -> None:
        route = self.plane.ledger.route(_KB)
        if route is not None:
            self.space_at[route.epoch] = route.serving.space

    def _served_by(self) -> str:
        return str(self.plane.show_alias(ALIAS)["serving"]["model"])

    def _model_of(self, place: VectorField) -> str:
        return next(name for name in (OLD_MODEL, NEW_MODEL) if self.plane.model_door(name).space.id == place.space)

    def _count(self, place: VectorField) -> int:
        return self.plane.store_of(place).count(place)

    def _shown(self, model: str) -> str:
        space = self.plane.model_door(model).space
        return f"{space.model}, {space.dimensions} dimensions"
