"""A collection at a point of its migration, as often as it is needed, and the verbs that go on from there."""

from __future__ import annotations

import copy
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from undrift import Document
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.adapters.stores.memory import MemoryStore
from undrift.domain.migration import Phase
from undrift.domain.record import Vectors
from undrift.errors import GateFailed, UndriftError
from undrift.ports.embedder import EmbedderLimits
from undrift.ports.store import Layout as StoreLayout
from undrift.testing.faults import Killed
from undrift.testing.rig import ALIAS, CHUNK_SIZE, Layout, Process, Rig, documents

DOCUMENTS = documents(*(f"text of number {number}" for number in range(3 * CHUNK_SIZE)))
#: Calls that may leave something behind; killed after each of them, a process leaves every state there is.
CHANGES = frozenset(
    {
        *(f"store.{name}" for name in ("create", "drop", "upsert", "delete", "merge_metadata", "insert_absent")),
        *(f"store.{name}" for name in ("attach", "detach")),
        *(f"ledger.{name}" for name in ("register_client", "join", "renew", "unacknowledged", "leave", "bury")),
        *(f"ledger.{name}" for name in ("open", "close", "reap", "claim", "clear", "postpone", "mark")),
        *(f"ledger.{name}" for name in ("add_chunks", "lease_chunk", "publish", "published", "release_chunk")),
        *(f"ledger.{name}" for name in ("register_migration", "coordinate", "yield_coordination", "save_phase")),
        *(f"ledger.{name}" for name in ("save_run_status", "spend", "change_mode", "hold", "flip", "record_space")),
        *(
            f"ledger.{name}"
            for name in ("save_verification", "quarantine", "release", "require_reconcile", "reconciled")
        ),
        "model.embed_documents",
    }
)

#: Short, because whoever waits looks ten times a second, virtual or not.
TIMING = {"lease_s": 3.0, "deadline_s": 4.0, "work_lease_s": 5.0, "fence_horizon_s": 2.0, "write_timeout_s": 20.0}
#: How often an operator repeats a verb; more than leases and horizons last.
_PATIENCE = 20


class CountingModel(HashingEmbedder):
    """A model whose work is worth keeping; it counts every text that it was asked for."""

    def __init__(self, *, dimensions: int, seed: str) -> None:
        super().__init__(dimensions=dimensions, seed=seed)
        self.asked: Counter[str] = Counter()

    @property
    def limits(self) -> EmbedderLimits:
        return replace(super().limits, worth_keeping=True)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        self.asked.update(texts)
        return super().embed_documents(texts)


@dataclass(frozen=True, kw_only=True)
class Verb:
    """Something an operator asks for, from a point of a migration to another.

    Attributes:
        before: brings a fresh collection to the point where it is asked for.
        act: does it; repeated after a crash, as an operator would.
        after: the phase it ends in.
        writes: what an application writes in the middle of it, when the verb makes its n-th call of a name.
    """

    name: str
    before: Callable[[World], None]
    act: Callable[[Process], None]
    after: Phase
    during: tuple[str, int] | None = None


@dataclass(kw_only=True)
class World:
    """A rig with what was written to it.

    Attributes:
        rig: the collection.
        truth: what should be in it.
        wrote: whether the application has written yet.
        where: where the target's vectors are put.
    """

    rig: Rig
    where: StoreLayout = StoreLayout.COLLECTION
    truth: dict[str, Document] = field(default_factory=dict)
    wrote: bool = False

    @classmethod
    def fresh(cls, folder: Path, layout: Layout, where: StoreLayout = StoreLayout.COLLECTION) -> World:
        folder.mkdir()
        models = {"old": CountingModel(dimensions=16, seed="old"), "new": CountingModel(dimensions=24, seed="new")}
        world = cls(rig=Rig(folder=folder, layout=layout, models=models, timing=TIMING), where=where)
        app = world.rig.process()
        app.alias.upsert(DOCUMENTS)
        world.truth = {document.id: document for document in DOCUMENTS}
        app.plane.close()
        return world

    def again(self, folder: Path) -> World:
        """The same world once more, in another folder; nobody lives in this one any more."""
        self.rig.close()
        shutil.copytree(self.rig.folder, folder)
        models = {
            name: CountingModel(dimensions=model.space.dimensions, seed=name) for name, model in self.rig.models.items()
        }
        memory = MemoryStore()
        memory.collections = copy.deepcopy(self.rig.memory.collections)
        rig = Rig(folder=folder, layout=self.rig.layout, models=models, memory=memory, timing=self.rig.timing)
        rig.clock.advance(self.rig.clock.monotonic() - rig.clock.monotonic())
        return World(rig=rig, truth=dict(self.truth), wrote=self.wrote, where=self.where)

    def do(self, act: Callable[[Process], Any], role: str = "operator") -> None:
        """Let a process do something, and end as it should."""
        process = self.rig.process(role)
        act(process)
        process.plane.close()

    def write(self) -> None:
        """Write as an application does, once: insert, replace, delete, change metadata."""
        if self.wrote:
            return
        self.wrote = True

        def writes(process: Process) -> None:
            fresh = Document(id="d03x", text="inserted meanwhile")
            replaced = replace(DOCUMENTS[6], text="replaced meanwhile")
            process.alias.upsert([fresh, replaced])
            process.alias.delete(["d01", "d10"])
            process.alias.update_metadata("d08", {"lang": "en"})
            self.truth |= {fresh.id: fresh, replaced.id: replaced}
            self.truth["d08"] = replace(DOCUMENTS[8], metadata={**DOCUMENTS[8].metadata, "lang": "en"})
            del self.truth["d01"], self.truth["d10"]

        self.do(writes, "app")

    def drain(self) -> None:
        """Let a worker carry over what is dirty."""
        process = self.rig.process("worker")
        worker = process.worker(sample=0)
        while self.rig.route().follower is not None and process.plane.ledger.lag(ALIAS).dirty:
            worker.tick()
            self.rig.clock.sleep(0.1)

    def phase(self) -> Phase | None:
        migration = self.rig.migration()
        return migration.phase if migration else None

    def faults(self) -> list[str]:
        """Compare every field there is with the truth."""
        route = self.rig.route()
        places = [place for place in (route.serving, route.follower) if place is not None]
        return [
            f"{place.key}: {fault}" for place in places for fault in self.rig.differences(place, self.truth.values())
        ]


def started(world: World) -> None:
    world.do(lambda operator: operator.plane.register(ALIAS, "new", layout=world.where))


def half_filled(world: World) -> None:
    started(world)
    world.do(lambda worker: worker.work(lambda migration: migration.phase is Phase.BACKFILL and migration.planned))


def ready(world: World) -> None:
    started(world)
    world.do(lambda worker: worker.work_to(Phase.READY, sample=0))


def cut_over(world: World) -> None:
    ready(world)
    world.do(lambda operator: operator.plane.cutover(ALIAS))


def dirty(before: Callable[[World], None]) -> Callable[[World], None]:
    """With documents that are not carried over yet."""

    def act(world: World) -> None:
        before(world)
        world.write()

    return act


def _start(process: Process) -> None:
    process.plane.register(ALIAS, "new")
    process.work_to(Phase.READY, sample=0)


def _go_on(process: Process) -> None:
    process.work_to(Phase.READY, sample=0)


VERBS = (
    Verb(name="start", before=lambda _: None, act=_start, after=Phase.READY, during=("ledger.publish", 2)),
    Verb(name="cutover", before=dirty(ready), act=lambda it: it.plane.cutover(ALIAS), after=Phase.REVERSING),
    Verb(
        name="cutover --freeze-writes",
        before=dirty(ready),
        act=lambda it: it.plane.cutover(ALIAS, freeze_s=5.0),
        after=Phase.REVERSING,
    ),
    Verb(name="rollback", before=dirty(cut_over), act=lambda it: it.plane.rollback(ALIAS), after=Phase.ROLLED_BACK),
    Verb(
        name="rollback --now",
        before=dirty(cut_over),
        act=lambda it: it.plane.rollback(ALIAS, now=True),
        after=Phase.ROLLED_BACK,
    ),
    Verb(name="complete", before=dirty(cut_over), act=lambda it: it.plane.complete(ALIAS), after=Phase.DONE),
    Verb(name="cancel", before=dirty(half_filled), act=lambda it: it.plane.cancel(ALIAS), after=Phase.ABORTED),
    Verb(
        name="cancel --drop", before=dirty(ready), act=lambda it: it.plane.cancel(ALIAS, drop=True), after=Phase.ABORTED
    ),
    Verb(name="cancel at once", before=started, act=lambda it: it.plane.cancel(ALIAS), after=Phase.ABORTED),
)

#: Those that write to the follower, or drop a field, where both are in the same records.
IN_PLACE = (
    Verb(name="go on", before=started, act=_go_on, after=Phase.READY, during=("ledger.publish", 2)),
    *(verb for verb in VERBS if verb.name in {"cutover", "rollback --now", "complete", "cancel --drop"}),
)


def attempt(world: World, verb: Verb, process: Process) -> bool:
    """Let a process do a verb, with an application that writes in the middle; False when it was killed."""
    if verb.during is not None:
        name, number = verb.during
        seen = 0

        def on_call(call: str) -> None:
            nonlocal seen
            seen += call == name
            if call == name and seen == number:
                world.write()

        process.faults.on_call = on_call
    try:
        verb.act(process)
    except Killed:
        world.rig.kill(process)
        return False
    return True


def resume(world: World, verb: Verb) -> None:
    """Do a verb again in a new process, until it is done; what a dead one held may be in the way for a while."""
    for _ in range(_PATIENCE):
        if world.phase() is verb.after:
            return
        try:
            attempt(world, verb, world.rig.process("operator"))
        except UndriftError as error:
            if not (error.retryable or isinstance(error, GateFailed)):
                raise
            world.rig.clock.sleep(10.0)
    raise AssertionError(f"{verb.name} does not come to its end")


def paid_twice(world: World) -> int:
    """How often a model was asked for a text of the collection that it had been asked for before.

    To be looked at before the fields are compared, which asks for all of them.
    """
    texts = {document.text for document in world.truth.values()}
    asked = [model.asked for model in world.rig.models.values() if isinstance(model, CountingModel)]
    return sum(counts[text] - 1 for counts in asked for text in texts if counts[text] > 1)
