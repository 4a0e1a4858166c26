"""What a migration adds to the time that a write takes."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.background import Crew, migrating, orders
from benchmarks.measuring import Judged, Row, Target, latency_rows
from benchmarks.scene import ALIAS, Scene, document, documents, prepare
from benchmarks.write import BATCH
from undrift.control import ControlPlane
from undrift.domain.migration import Phase
from undrift.domain.route import AliasName

#: When a write began on the clock that all processes share, and how long it took, in seconds.
Write = tuple[float, float]

_LOOK_S = 0.01
_GIVE_UP_S = 300.0
_TARGET = Target(judged=Judged.ADDED, at_most=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is migrated, how many write at the same time, for how long, and how they pause between two writes."""

    documents: int
    writers: tuple[int, ...]
    seconds: float
    pause_s: float
    rounds: int


QUICK = Size(documents=4_000, writers=(1, 2), seconds=2.0, pause_s=0.1, rounds=1)
FULL = Size(documents=50_000, writers=(1, 4), seconds=10.0, pause_s=0.1, rounds=2)


def measure(folder: Path, size: Size = FULL) -> list[Row]:
    """Return how long a write takes during a migration, beside before it."""
    rows = []
    for one_file in (False, True):
        for writers in size.writers:
            place = f"{'one' if one_file else 'two'}-{writers}"
            scene = prepare(folder / place, documents(size.documents), one_file=one_file)
            found = _measure(scene, size, writers)
            who = f"{writers} {'processes' if writers > 1 else 'process'} write {BATCH}"
            where = "ledger in the store's file" if one_file else "ledger in its own file"
            for what, taken in (("journal only", found.journaled), ("full back-fill", found.filling)):
                rows += latency_rows(f"{who}, {where}, {what}", taken, found.before, p50=_TARGET, p99=None)
    return rows


@dataclass(slots=True)
class _Found:
    before: list[float] = field(default_factory=list)
    journaled: list[float] = field(default_factory=list)
    filling: list[float] = field(default_factory=list)


def _measure(scene: Scene, size: Size, writers: int) -> _Found:
    """Let processes write before a migration, while it only journals, and while it fills, again and again."""
    found = _Found()
    with Crew(writers, _write, scene, size) as crew, scene.open() as plane:
        crew.ask(0.5)
        for _ in range(size.rounds):
            found.before += _durations(crew.ask(size.seconds))
            plane.register(ALIAS, "new")
            plane.work(ALIAS, lambda migration: migration is None or migration.phase is Phase.BACKFILL)
            found.journaled += _durations(crew.ask(size.seconds))
            plane.cancel(ALIAS, drop=True)
            found.filling += _while_filling(plane, scene, crew, size, writers)
    return found


def _while_filling(plane: ControlPlane, scene: Scene, crew: Crew, size: Size, writers: int) -> list[float]:
    """Let a worker process migrate again and again until enough writes fell into its back-fills."""
    enough = size.seconds / size.pause_s / 2 * writers
    found: list[float] = []
    started = time.monotonic()
    with _watching(plane) as spans, migrating(scene):
        while len(found) < enough:
            if time.monotonic() - started > _GIVE_UP_S:
                raise TimeoutError(f"only {len(found)} writes fell into a back-fill")
            found += _durations(crew.ask(size.seconds), within=spans)
    return found


def _write(connection: Connection, number: int, scene: Scene, size: Size) -> None:
    """Replace documents chosen at random with other texts, for as long as one is told, with pauses of random length."""
    chance = random.Random(number)
    edition = number * 1_000_000
    with scene.open() as plane:
        alias = plane.alias(ALIAS)
        for seconds in orders(connection):
            writes: list[Write] = []
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                edition += 1
                batch = [document(place, edition) for place in chance.sample(range(size.documents), BATCH)]
                time.sleep(chance.expovariate(1 / size.pause_s))
                began = time.monotonic()
                alias.upsert(batch)
                writes.append((began, time.monotonic() - began))
            connection.send(writes)


@contextmanager
def _watching(plane: ControlPlane) -> Iterator[list[tuple[float, float]]]:
    """Collect from when until when a back-fill runs."""
    spans: list[tuple[float, float]] = []
    stop = threading.Event()

    def watch() -> None:
        last: float | None = None
        while not stop.wait(_LOOK_S):
            state = plane.ledger.alias(AliasName(ALIAS))
            now = time.monotonic()
            runs = state is not None and state.migration is not None and state.migration.phase is Phase.BACKFILL
            if runs and last is not None:
                spans.append((last, now))
            last = now if runs else None

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield spans
    finally:
        stop.set()
        thread.join()


def _durations(answers: Sequence[Sequence[Write]], within: Sequence[tuple[float, float]] | None = None) -> list[float]:
    return [
        took
        for writes in answers
        for began, took in writes
        if within is None or any(lo <= began < hi for lo, hi in within)
    ]
