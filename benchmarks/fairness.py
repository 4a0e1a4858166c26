"""How long a bracket around a write takes when several processes open theirs, with the queue and without it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.background import Crew, orders
from benchmarks.measuring import Row, latency_rows
from benchmarks.scene import ALIAS, Scene, documents, prepare
from benchmarks.write import BATCH
from undrift.adapters.sqlite.turnstile import Turnstile
from undrift.domain.migration import Phase
from undrift.domain.operation import Opened
from undrift.domain.record import DocumentId
from undrift.domain.route import AliasName


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many open and close at the same time, for how long, how often."""

    processes: tuple[int, ...]
    seconds: float
    rounds: int


QUICK = Size(processes=(1, 2), seconds=0.5, rounds=1)
FULL = Size(processes=(1, 4), seconds=4.0, rounds=3)


def measure(folder: Path, size: Size = FULL) -> list[Row]:
    """Return how long opening and closing takes with undrift's queue, beside SQLite's own waiting."""
    scene = prepare(folder / "scene", documents(1))
    rows = []
    with scene.open() as plane:
        plane.register(ALIAS, "new")
        plane.work(ALIAS, lambda migration: migration is None or migration.phase is Phase.BACKFILL)
        for count in size.processes:
            queued: list[float] = []
            plain: list[float] = []
            with Crew(count, _bracket, scene, True) as ours, Crew(count, _bracket, scene, False) as theirs:
                for crew in (ours, theirs):
                    crew.ask(0.2)
                for _ in range(size.rounds):
                    queued += chain.from_iterable(ours.ask(size.seconds))
                    plain += chain.from_iterable(theirs.ask(size.seconds))
            named = f"open and close, {count} {'processes' if count > 1 else 'process'}"
            rows += latency_rows(named, queued, plain, p50=None, p99=None)
            rows += [
                Row(name=f"{named}, longest", ours=max(queued) * 1000, baseline=max(plain) * 1000, unit="ms"),
                Row(
                    name=f"{named}, together",
                    ours=len(queued) / size.seconds / size.rounds,
                    baseline=len(plain) / size.seconds / size.rounds,
                    unit="/s",
                ),
            ]
    return rows


def _bracket(connection: Connection, number: int, scene: Scene, queue: bool) -> None:
    if not queue:
        Turnstile.turn = _no_turn  # type: ignore[method-assign,assignment]
    alias = AliasName(ALIAS)
    keys = [DocumentId(f"{number}-{place}") for place in range(BATCH)]
    with scene.open() as plane:
        plane.router.join(alias)
        for seconds in orders(connection):
            taken: list[float] = []
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                started = time.perf_counter()
                opened = plane.ledger.open(alias, keys, client=plane.router.client, deadline_s=30)
                assert isinstance(opened, Opened), opened
                plane.ledger.close(alias, opened.operation, keys)
                taken.append(time.perf_counter() - started)
            connection.send(taken)


@contextmanager
def _no_turn(_: Turnstile, deadline: float) -> Iterator[None]:
    """Go straight to BEGIN IMMEDIATE; whoever finds another one there waits as SQLite does."""
    yield
