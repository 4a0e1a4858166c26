"""The actors: writers, searchers, workers and coordinators, each a process of its own and a client of its own.

They go on until they are asked to end by SIGTERM, or until they are killed; a coordinator ends when its story is told.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.torture.failing import Failpoint, JumpingClock, Point, Status, TorturedPlugins
from tests.torture.histories import FAIL, OK, UNKNOWN, History
from undrift import Document
from undrift.config import load
from undrift.control import ControlPlane
from undrift.domain.migration import Migration, Phase, RunStatus
from undrift.domain.route import AliasName
from undrift.errors import (
    ControlUnavailable,
    GateFailed,
    StoreRejected,
    UndriftError,
    WriteTimeout,
)
from undrift.flow.alias import Alias
from undrift.migrate.engine import Worker
from undrift.telemetry import Metric, counted

ALIAS = "kb"
KEYS = 120
#: Documents in a piece of the back-fill; so few that there are several pieces.
CHUNK_SIZE = 12
#: Errors that say that nothing was written.
_NOTHING_WRITTEN = (WriteTimeout, ControlUnavailable, StoreRejected)
_WORDS = ["tide", "lamp", "oar", "rope", "sail", "knot", "mast", "keel", "buoy", "gull", "dune", "reef", "cove", "quay"]


class Actor:
    """What every actor has: its part, its plane, its history, and the wish of others that it ends."""

    def __init__(self, name: str, script: dict[str, Any]) -> None:
        self.name, self.script = name, script
        self.folder = Path(script["folder"])
        self.chance = random.Random(script["seed"])
        self.stop = False
        signal.signal(signal.SIGTERM, self._asked_to_stop)
        self.status = Status(self.folder / "status" / name)
        self.history = History(Path(script["histories"]) / f"{name}.{script['life']}.jsonl")
        wanted = script.get("failpoint")
        failpoint = Failpoint(**wanted) if wanted else None
        faults = Point(self.status, failpoint, self._mark)
        clock = JumpingClock(self.status, random.Random(script["seed"] + 1), jumps=bool(script.get("jumps")))
        config = load(self.folder / "undrift.toml")
        plugins = TorturedPlugins(config, clock, faults, busy_s=script["busy_s"], write_s=script["write_s"])
        self.plane = ControlPlane(config, role=script["role"], clock=clock, plugins=plugins)

    def alias(self) -> Alias | None:
        """Return the collection; None when the ledger cannot be asked now."""
        try:
            return self.plane.alias(ALIAS)
        except ControlUnavailable:
            self.pause(0.05)
            return None

    def pause(self, seconds: float) -> None:
        time.sleep(seconds * self.chance.uniform(0.5, 1.5))

    def _mark(self, point: str) -> None:
        """Leave word of the point that ends this life."""
        (self.folder / "points" / f"{os.getpid()}").write_text(point, encoding="utf-8")

    def _asked_to_stop(self, *_: object) -> None:
        self.stop = True


def play(name: str, script: dict[str, Any]) -> int:
    """Play a part to its end; returns the exit status."""
    actor = Actor(name, script)
    try:
        PARTS[script["role"]](actor)
    finally:
        actor.status.over()
    actor.plane.close()
    return 0


def key(number: int) -> str:
    return f"k{number % KEYS:03d}"


def load_documents(actor: Actor) -> None:
    """Put the first documents into an empty collection."""
    kb = actor.plane.alias(ALIAS)
    documents = [
        Document(id=key(number), text=f"{_phrase(actor.chance)} as it began", metadata={"by": "loader", "n": number})
        for number in range(0, KEYS, 2)
    ]
    kb.upsert(documents)


def write(actor: Actor) -> None:
    """Change documents that others change as well, and look at them."""
    number = 0
    while not actor.stop:
        kb = actor.alias()
        if kb is None:
            continue
        number += 1
        own = [key(actor.script["first"] + actor.chance.randrange(actor.script["share"])) for _ in range(3)]
        keys = sorted(set(own[: actor.chance.randint(1, 3)]))
        kind = actor.chance.choices(["put", "delete", "merge", "get"], weights=[5, 2, 2, 3])[0]
        match kind:
            case "put":
                mark = f"{actor.name}.{actor.script['life']}.{number}"
                puts = {k: f"{_phrase(actor.chance)} {k} {mark}" for k in keys}
                documents = [
                    Document(id=k, text=text, metadata={"by": actor.name, "n": number}) for k, text in puts.items()
                ]
                metadata = {"by": actor.name, "n": number}
                _change(actor, "put", lambda kb=kb, it=documents: kb.upsert(it), puts=puts, metadata=metadata)  # type: ignore[misc]
            case "delete":
                _change(actor, "delete", lambda kb=kb, it=keys: kb.delete(it), keys=keys)  # type: ignore[misc]
            case "merge":
                changes = {"seen": f"{actor.name}.{actor.script['life']}.{number}"}
                one = keys[0]
                _change(
                    actor,
                    "merge",
                    lambda kb=kb, it=one, changes=changes: kb.update_metadata(it, changes),  # type: ignore[misc]
                    keys=[one],
                    changes=changes,
                )
            case _:
                _get(actor, kb, keys)
        actor.pause(actor.script["pause_s"])


def search(actor: Actor) -> None:
    """Search, and get documents by their ids."""
    while not actor.stop:
        kb = actor.alias()
        if kb is None:
            continue
        if actor.chance.random() < 0.5:
            _get(actor, kb, [key(actor.chance.randrange(KEYS)) for _ in range(4)])
        else:
            _search(actor, kb, _phrase(actor.chance))
        actor.pause(actor.script["pause_s"])


def work(actor: Actor) -> None:
    """Be a worker, as `undrift worker` is."""
    while not actor.stop:
        try:
            workshop = actor.plane.workshop(AliasName(ALIAS))
        except ControlUnavailable:
            actor.pause(0.05)
            continue
        worker = Worker(
            workshop=workshop, who=actor.name, sample=30, chunk_size=CHUNK_SIZE, on_progress=actor.status.over
        )
        try:
            worker.run(lambda _: actor.stop)
        except UndriftError as error:
            actor.history.note(halted=error.kind, message=str(error))
            actor.pause(0.2)


def coordinate(actor: Actor) -> None:
    """Do what an operator does, verb by verb, each until it is done; another coordinator may be at the same story."""
    Coordinator(actor).tell()


class Coordinator:
    """An operator with a list of what is to be reached; what was reached is kept in a file that all of them share."""

    def __init__(self, actor: Actor) -> None:
        self.actor, self.plane = actor, actor.plane
        self.goals: Sequence[str] = actor.script["goals"]
        self.progress = actor.folder / "progress" / str(actor.script["section"])

    def tell(self) -> None:
        while not self.actor.stop:
            reached = self._reached()
            if reached == len(self.goals):
                return
            goal = self.goals[reached]
            number = self.actor.history.invoke("verb", verb=goal, goal=reached)
            try:
                done = self._pursue(goal)
                self.actor.history.end(number, OK, done=done)
            except UndriftError as error:
                self.actor.history.end(number, FAIL, error=error.kind, message=str(error))
                done = False
                self._help(error)
            self.actor.status.over()
            if done and self._reached() == reached:
                self._note(reached)
            if not done:
                self.actor.pause(0.05)

    def _reached(self) -> int:
        """Return how many goals are reached, whoever reached them."""
        if not self.progress.exists():
            return 0
        return 1 + max((int(line) for line in self.progress.read_text().split()), default=-1)

    def _note(self, goal: int) -> None:
        with self.progress.open("a", encoding="ascii") as file:
            file.write(f"{goal}\n")

    def _pursue(self, goal: str) -> bool:
        """Do what a goal needs; whether it is reached."""
        verb, _, argument = goal.partition(":")
        match verb:
            case "dwell":
                self.actor.pause(float(argument))
                return True
            case "settled":
                return self._is_settled()
            case _:
                return self._act(verb, argument)

    def _act(self, verb: str, argument: str) -> bool:
        """Give a verb unless it was given already, by somebody who was killed before he could say so."""
        migration = self._migration()
        phase = None if migration is None or migration.is_final else migration.phase
        match verb:
            case "ready":
                return phase is Phase.READY
            case "start" if phase is None:
                self.plane.register(ALIAS, argument)
            case "cutover" if phase is not Phase.REVERSING:
                self.plane.cutover(ALIAS, freeze_s=float(argument) if argument else None)
            case "rollback" if phase is not Phase.ROLLED_BACK:
                self.plane.rollback(ALIAS, now=argument == "now")
            case "complete" if phase is not None:
                self.plane.complete(ALIAS)
            case "cancel" if phase is not None:
                self.plane.cancel(ALIAS, drop=argument == "drop")
            case _:
                pass
        return True

    def _is_settled(self) -> bool:
        """Whether every client follows the route, and no document's truth is elsewhere."""
        alias = AliasName(ALIAS)
        workshop = self.plane.workshop(alias)
        workshop.bury_the_dead()
        route = self.plane.router.refresh(alias)
        if self.plane.ledger.unacknowledged(alias, route.epoch, workshop.settle_s):
            return False
        if route.follower is not None and self.plane.ledger.lag(alias).foreign:
            return False
        self.actor.history.note(settled=route.epoch, space=route.serving.space)
        return True

    def _help(self, error: UndriftError) -> None:
        """Do what the error's hint tells an operator to do."""
        migration = self._migration(quiet=True)
        if migration is None:
            return
        try:
            if migration.run_status is RunStatus.HALTED:
                self.actor.history.note(halted=migration.id, message=str(self.plane.glance(ALIAS)["waiting_for"]))
                self.plane.resume(ALIAS)
            if isinstance(error, GateFailed) and "verified (" in error.detail:
                self.plane.verify(ALIAS, sample=20)
            if isinstance(error, GateFailed) and "reconciled (" in error.detail:
                self.actor.history.note(suspected=error.detail)
                self.plane.reconcile(ALIAS)
        except UndriftError as other:
            self.actor.history.note(helped=other.kind, message=str(other))

    def _migration(self, *, quiet: bool = False) -> Migration | None:
        try:
            state = self.plane.ledger.alias(AliasName(ALIAS))
        except UndriftError:
            if quiet:
                return None
            raise
        return state.migration if state is not None else None


def _change(actor: Actor, kind: str, call: Callable[[], Any], **facts: Any) -> None:
    number = actor.history.invoke(kind, **facts)
    try:
        receipt = call()
        actor.history.end(number, OK, epoch=receipt.epoch, space=receipt.space)
    except UndriftError as error:
        outcome = FAIL if isinstance(error, _NOTHING_WRITTEN) else UNKNOWN
        actor.history.end(number, outcome, error=error.kind, message=str(error))
    actor.status.over()


def _get(actor: Actor, kb: Alias, keys: list[str]) -> None:
    epoch = kb.route().epoch
    number = actor.history.invoke("get", keys=sorted(set(keys)), epoch=epoch)
    try:
        found = {document.id: [document.text, dict(document.metadata)] for document in kb.get(keys)}
        actor.history.end(number, OK, found=found, epoch=kb.route().epoch)
    except UndriftError as error:
        actor.history.end(number, FAIL, error=error.kind, message=str(error))
    actor.status.over()


def _search(actor: Actor, kb: Alias, question: str) -> None:
    dropped = counted(Metric.MIS_TAGGED_HITS)
    number = actor.history.invoke("search", question=question, epoch=kb.route().epoch)
    try:
        hits = kb.search(question, k=5)
        actor.history.end(
            number,
            OK,
            epoch=hits.epoch,
            space=hits.space,
            spaces=[hit.tag.space if hit.tag else None for hit in hits],
            found={hit.id: [hit.text, dict(hit.metadata)] for hit in hits},
            dropped=counted(Metric.MIS_TAGGED_HITS) - dropped,
        )
    except UndriftError as error:
        actor.history.end(number, FAIL, error=error.kind, message=str(error))
    actor.status.over()


def _phrase(chance: random.Random) -> str:
    return " ".join(chance.choices(_WORDS, k=5))


def _audit(actor: Actor) -> None:
    from tests.torture.audit import audit

    audit(actor.plane, actor.script)


PARTS: dict[str, Callable[[Actor], None]] = {
    "loader": load_documents,
    "writer": write,
    "searcher": search,
    "worker": work,
    "coordinator": coordinate,
    "auditor": _audit,
}
