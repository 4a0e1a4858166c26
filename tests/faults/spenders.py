"""Workers that spend a budget at a provider that bills them, and die at any moment."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from undrift.adapters.clock import SystemClock
from undrift.adapters.embedders.http import HttpEmbedder
from undrift.adapters.ledgers.sqlite import SqliteLedger
from undrift.adapters.sqlite import Database
from undrift.domain.client import ClientId
from undrift.domain.migration import MigrationId
from undrift.domain.pacing import PaceLimits
from undrift.domain.record import Vector, Vectors
from undrift.domain.space import Space
from undrift.errors import BudgetExhausted, EmbedderRejected, EmbedderUnavailable
from undrift.flow.embed import EmbeddingDoor
from undrift.flow.oversight import Oversight
from undrift.flow.pacing import Pacer
from undrift.migrate.purse import MigrationPurse
from undrift.ports.embedder import BEFORE_RETRY, WATCH, EmbedderLimits, TokenCount
from undrift.ports.ledger import Ledger

BOOT = "boot-1"
WORK = Oversight(is_work=True)


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


@dataclass
class Till:
    """What a provider bills, and the most it ever should."""

    budget: int
    billed: int = 0
    worst: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def bill(self, tokens: int) -> None:
        with self.lock:
            self.billed += tokens
            self.worst = max(self.worst, self.billed)


class MoodyProvider:
    """An embedder that bills what it likes, up to a token for a byte, and does not always say so."""

    space = Space(channel="test", model="moody", revision="1", dimensions=2, normalized=False)
    limits = EmbedderLimits(batch_size=4, paid=True, reports_usage=True, worth_keeping=False)

    def __init__(self, till: Till, chance: random.Random, kill: Any) -> None:
        self._till = till
        self._chance = chance
        self._kill = kill

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        match self._chance.randrange(14):
            case 0:
                WATCH.get().unbilled()
                raise EmbedderUnavailable("it limits the rate")
            case 1:
                self._bill(texts)
                raise EmbedderUnavailable("the connection broke after it had begun")
            case 2:
                raise EmbedderUnavailable("the connection broke before it had begun")
            case 3:
                WATCH.get().unbilled()
                raise EmbedderRejected("it does not like this text")
            case 4:
                self._kill()
            case 5:
                self._bill(texts)
                self._kill()
            case 6:
                # As an adapter does that sends a request again by itself.
                self._bill(texts)
                BEFORE_RETRY.get()("it did not answer")
                BEFORE_RETRY.get()("")
            case _:
                pass
        billed = self._bill(texts)
        if self._chance.random() < 0.9:
            WATCH.get().billed(billed)
        return np.ones((len(texts), 2), dtype=np.float32)

    def embed_query(self, text: str) -> Vector:
        return np.ones(2, dtype=np.float32)

    def count_tokens(self, texts: Sequence[str]) -> TokenCount:
        return TokenCount(tokens=sum(max(1, len(text) // 4) for text in texts), exact=False)

    def close(self) -> None: ...

    def _bill(self, texts: Sequence[str]) -> int:
        tokens = sum(self._chance.randint(1, len(text.encode())) for text in texts)
        self._till.bill(tokens)
        return tokens


@dataclass
class MortalPurse:
    """A purse whose process may be dead: then nothing reaches the ledger any more."""

    purse: MigrationPurse
    chance: random.Random
    is_dead: bool = False

    def kill(self) -> None:
        self.is_dead = True
        raise Killed

    def reserve(self, tokens: int) -> bool:
        self._live()
        answer = self.purse.reserve(tokens)
        if self.chance.random() < 0.02:
            self.kill()
        return answer

    def settle(self, reserved: int, billed: int) -> None:
        self._live()
        if self.chance.random() < 0.02:
            self.kill()
        self.purse.settle(reserved, billed)

    def _live(self) -> None:
        if self.is_dead:
            raise Killed


def spend_until_it_ends(
    ledger: Ledger, migration: MigrationId, till: Till, clock: Any, seed: int, lives: count[int]
) -> None:
    """Embed texts, in one process after another, until the budget is exhausted or five have died."""
    chance = random.Random(seed)
    for _ in range(5):
        owner = ClientId(f"w{next(lives)}")
        ledger.register_client(owner, host="h", pid=1, role="worker", version="1", lease_s=2.0)
        purse = MortalPurse(MigrationPurse(ledger=ledger, migration=migration, owner=owner), chance)
        door = EmbeddingDoor(MoodyProvider(till, chance, purse.kill), clock=clock)
        try:
            for _ in range(6):
                texts = [f"{number} " + "x" * chance.randint(0, 40) for number in range(chance.randint(1, 6))]
                try:
                    door.documents(texts, purse=purse)
                except (EmbedderUnavailable, EmbedderRejected):
                    continue
        except BudgetExhausted:
            return
        except Killed:
            if chance.random() < 0.5:
                ledger.bury(owner)


def work(path: Path, migration: MigrationId, url: str, number: int) -> None:
    """Be a process that embeds at a server until the budget is exhausted."""
    clock = SystemClock()
    ledger = SqliteLedger(Database(path), clock, boot_id=BOOT)
    owner = ClientId(f"worker-{number}")
    ledger.register_client(owner, host="h", pid=number, role="worker", version="1", lease_s=5.0)
    door = door_to(ledger, url, owner)
    purse = MigrationPurse(ledger=ledger, migration=migration, owner=owner)
    for round in count():
        texts = [f"worker {number} round {round} text {place} has some words" for place in range(32)]
        try:
            door.documents(texts, purse=purse, oversight=WORK)
        except BudgetExhausted:
            return


def send_for_a_while(path: Path, url: str, number: int, requests: int) -> None:
    """Be a process that sends so many requests at the pace that it shares with others."""
    ledger = SqliteLedger(Database(path), SystemClock(), boot_id=BOOT)
    door = door_to(ledger, url, ClientId(f"worker-{number}"))
    texts = [f"worker {number} text {place} has some words" for place in range(8 * requests)]
    door.documents(texts, oversight=WORK)


def door_to(ledger: Ledger, url: str, owner: ClientId) -> EmbeddingDoor:
    """Return a door to a model at a server, with the pace that its account shares."""
    clock = SystemClock()
    embedder = HttpEmbedder(name="toy", base_url=url, dimensions=8, batch_size=8, concurrency=2, api_key="secret")
    pacer = Pacer(ledger, "local/toy", owner=owner, clock=clock, limits=PaceLimits(), model="toy")
    return EmbeddingDoor(embedder, clock=clock, pacer=pacer)
