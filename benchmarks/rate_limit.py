"""How close to a provider's limit embedding goes, and how often it is refused, from one process and from several."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.background import Crew, orders
from benchmarks.measuring import Judged, Row, Target
from undrift.adapters.clock import SystemClock
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.adapters.embedders.http import HttpEmbedder
from undrift.adapters.ledgers.sqlite import SqliteLedger
from undrift.adapters.sqlite import Database
from undrift.domain.client import ClientId
from undrift.domain.pacing import PaceLimits
from undrift.flow.embed import EmbeddingDoor
from undrift.flow.oversight import Oversight
from undrift.flow.pacing import Pacer
from undrift.testing.provider import AccountLimits, EmbeddingProvider

_WORK = Oversight(is_work=True)
#: What the server may save up: a sixth of what providers let one save up, so that a burst would be refused.
_BUCKET_S = 10.0
_TEXT = "the quick brown fox jumps over the lazy dog and comes back for what it has left behind there " * 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many processes share the limit, how fast it is, and for how long."""

    processes: tuple[int, ...]
    tokens_per_min: int
    requests_per_min: int
    seconds: float


QUICK = Size(processes=(1, 2), tokens_per_min=300_000, requests_per_min=3_000, seconds=4.0)
FULL = Size(processes=(1, 3), tokens_per_min=600_000, requests_per_min=3_000, seconds=120.0)

_NEAR = Target(judged=Judged.RATIO, at_least=0.97)
_ANSWERED = Target(judged=Judged.VALUE, at_least=99.0)


def measure(folder: Path, size: Size = FULL) -> list[Row]:
    """Return tokens a minute beside the server's limit, and the share of requests that it did not refuse.

    No process is told the limit: it is read in the answers, and shared through the ledger. Nothing is left to searches.
    """
    rows = []
    for count in size.processes:
        limits = AccountLimits(
            requests_per_min=size.requests_per_min, tokens_per_min=size.tokens_per_min, bucket_s=_BUCKET_S
        )
        path = folder / f"{count}.db"
        model = {"toy": HashingEmbedder(dimensions=16)}
        with (
            EmbeddingProvider(model, api_key="secret", limits=limits) as provider,
            Crew(count, _embed, path, provider.url) as crew,
        ):
            crew.ask(2.0)
            # The limit is known from now on.
            with _elapsed() as seconds:
                before = len(provider.requests)
                crew.ask(size.seconds)
                answers = provider.requests[before:]
        rate = sum(answer.tokens for answer in answers) / seconds[0] * 60
        answered = sum(answer.status == 200 for answer in answers) / max(1, len(answers)) * 100
        named = f"{count} {'processes' if count > 1 else 'process'}"
        rows += [
            Row(
                name=f"{named}, beside the limit",
                ours=rate,
                baseline=size.tokens_per_min,
                unit="tokens/min",
                target=_NEAR,
            ),
            Row(name=f"{named}, requests that were not refused", ours=answered, unit="%", target=_ANSWERED),
        ]
    return rows


@contextmanager
def _elapsed() -> Iterator[list[float]]:
    seconds = [0.0]
    began = time.monotonic()
    yield seconds
    seconds[0] = time.monotonic() - began


def _embed(connection: Connection, number: int, path: Path, url: str) -> None:
    """Embed different texts, two threads at a time, until the time is over."""
    clock = SystemClock()
    ledger = SqliteLedger(Database(path), clock, boot_id="benchmark")
    embedder = HttpEmbedder(name="toy", base_url=url, api_key="secret", dimensions=16, batch_size=16, concurrency=4)
    pacer = Pacer(
        ledger,
        "benchmark/toy",
        owner=ClientId(f"process-{number}"),
        clock=clock,
        limits=PaceLimits(reserved_for_queries=0.0),
        model="toy",
    )
    door = EmbeddingDoor(embedder, clock=clock, pacer=pacer)
    made = 0
    for seconds in orders(connection):
        until = time.monotonic() + seconds

        def send(first: int, until: float = until) -> None:
            place = first
            while time.monotonic() < until:
                door.documents([f"{number} {place} {text} {_TEXT}" for text in range(16)], oversight=_WORK)
                place += 4

        threads = [threading.Thread(target=send, args=(made + first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        made += 10**6
        connection.send(made)
    door.close()
    ledger.close_ledger()
