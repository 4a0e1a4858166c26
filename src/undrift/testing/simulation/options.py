"""What one seed stands for: who takes part, what the store is like, and what goes wrong how often."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

#: Seconds by name, as in the configuration: short against the tenth of a second in which workers look for work.
TIMING: Mapping[str, float] = {
    "lease_s": 0.6,
    "poll_s": 0.2,
    "deadline_s": 0.4,
    "write_timeout_s": 0.8,
    "work_lease_s": 0.4,
    "retry_s": 0.05,
    "proof_s": 1e6,
    "fence_horizon_s": 0.2,
}
#: The same where a write may take so long that its documents are carried over before it has ended.
SLOW: Mapping[str, float] = {
    **TIMING,
    "lease_s": 4.0,
    "poll_s": 1.0,
    "deadline_s": 14.0,
    "write_timeout_s": 4.0,
    "work_lease_s": 2.0,
    "fence_horizon_s": 1.0,
}
#: What clients do, and how often against one another.
WRITES: Mapping[str, int] = {"upsert": 8, "delete": 4, "update_metadata": 3, "delete_by_filter": 1, "read": 4}
#: What operators may ask for.
VERBS = ("cutover", "cutover_frozen", "rollback", "rollback_now", "verify", "pause", "resume", "cancel", "complete")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything that a seed decides before the first step; the rest it decides on the way.

    Rates are probabilities for one call of a port, unless they say otherwise.

    Attributes:
        seed: where all chance comes from.
        keys: how many documents there may be.
        documents: how many there are in the beginning.
        clients: processes that write and read.
        threads: of each of them.
        operations: of each thread.
        think_s: mean pause between two of them, in seconds.
        batch: most documents in one of them.
        workers: processes that carry documents over.
        operators: processes that ask for verbs.
        verbs: what they may ask for.
        haste: how soon an operator goes on to the next verb; 1 is the pace of the clients.
        migrations: how many may begin.
        chunk_size: documents in a piece of the back-fill.
        safety_s: how long things go wrong, in virtual seconds.
        writes: weights of what clients do.
        insert_absent: whether the store can leave records alone which are there.
        torn: whether the records of one call land one by one.
        outlives: whether a request lands though its process has died.
        stale: whether searches and counts are answered by a replica that lags.
        scans_lag_s: a scan misses what another process inserted less than so long before it.
        known_dead: whether others are told that a process has died.
        kill: death of the process, before or after a call.
        stop: SIGSTOP for up to three leases, before or after a call.
        lose: a request that never arrives.
        mute: an answer that never arrives.
        late: a request that takes as long as it may: up to its deadline and the fence horizon.
        twice: a request that arrives twice.
        part: a request of which a part arrives.
        late_send: a client that is stopped between its last look at the clock and the sending.
        store_down: outages of the store, per second.
        ledger_down: outages of the ledger, per second.
        model_down: outages of the models, per second.
        latency_s: mean time that a request takes.
        slow_model: how much longer the embedding of documents takes.
        timing: seconds by name.
    """

    seed: int
    keys: int = 5
    documents: int = 4
    clients: int = 3
    threads: int = 1
    operations: int = 12
    think_s: float = 0.12
    batch: int = 3
    workers: int = 2
    operators: int = 1
    verbs: tuple[str, ...] = VERBS
    haste: float = 1.0
    migrations: int = 2
    chunk_size: int = 2
    safety_s: float = 2.0
    writes: Mapping[str, int] = field(default_factory=lambda: dict(WRITES))
    insert_absent: bool = True
    torn: bool = False
    outlives: bool = False
    stale: bool = False
    scans_lag_s: float = 0.0
    known_dead: bool = True
    kill: float = 0.0
    stop: float = 0.0
    lose: float = 0.0
    mute: float = 0.0
    late: float = 0.0
    twice: float = 0.0
    part: float = 0.0
    late_send: float = 0.0
    store_down: float = 0.0
    ledger_down: float = 0.0
    model_down: float = 0.0
    latency_s: float = 0.005
    slow_model: float = 1.0
    timing: Mapping[str, float] = field(default_factory=lambda: dict(TIMING))

    @property
    def calm(self) -> bool:
        """Whether nothing goes wrong."""
        return not any((self.kill, self.stop, self.lose, self.mute, self.late, self.part, self.late_send)) and not any(
            (self.store_down, self.ledger_down, self.model_down)
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the options by name."""
        return asdict(self)


def draw(seed: int) -> Options:
    """Return the options of a seed; most kinds of fault are off in most seeds, so each is seen without the rest."""
    chance = random.Random(seed)

    def sometimes(share: float, low: float, high: float) -> float:
        rate = chance.uniform(low, high)
        return rate if chance.random() < share else 0.0

    operations = chance.randint(6, 14)
    slow = chance.random() < 0.02
    safety_s = chance.uniform(8.0, 16.0) if slow else chance.uniform(1.0, 2.2)
    return Options(
        seed=seed,
        keys=chance.randint(2, 5),
        documents=chance.randint(0, 5),
        clients=chance.randint(2, 3),
        threads=1 if chance.random() < 0.7 else 2,
        operations=operations,
        think_s=safety_s / operations * chance.uniform(0.4, 1.0),
        batch=chance.randint(1, 3),
        workers=chance.randint(1, 2),
        operators=1 if chance.random() < 0.7 else 2,
        haste=chance.choice([0.5, 1.0, 3.0]),
        chunk_size=chance.randint(1, 4),
        safety_s=safety_s,
        insert_absent=chance.random() < 0.6,
        torn=chance.random() < 0.4,
        outlives=chance.random() < 0.5,
        stale=chance.random() < 0.3,
        known_dead=chance.random() < 0.5,
        kill=sometimes(0.5, 0.002, 0.02),
        stop=sometimes(0.4, 0.002, 0.02),
        lose=sometimes(0.4, 0.005, 0.05),
        mute=sometimes(0.4, 0.005, 0.05),
        late=sometimes(0.5, 0.01, 0.2),
        twice=sometimes(0.3, 0.01, 0.1),
        part=sometimes(0.3, 0.01, 0.1),
        late_send=sometimes(0.3, 0.01, 0.1),
        store_down=sometimes(0.2, 0.2, 0.8),
        ledger_down=sometimes(0.2, 0.2, 0.8),
        model_down=sometimes(0.2, 0.2, 0.8),
        latency_s=chance.choice([0.002, 0.005, 0.015]),
        slow_model=chance.choice([1.0, 1.0, 4.0, 16.0]),
        scans_lag_s=chance.choice([0.2, 0.5]) if chance.random() < 0.15 else 0.0,
        timing=dict(SLOW if slow else TIMING),
    )
