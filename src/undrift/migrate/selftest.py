"""Compare every vector of both fields, where both are of one space: what a migration to the same model has to leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from undrift.domain.checkpoint import Progress
from undrift.domain.gate import MIN_COSINE
from undrift.domain.record import DocumentId, Record, content_hash
from undrift.domain.route import Route, VectorField
from undrift.errors import NoMigration
from undrift.migrate.compare import Throttle, add_sample, total_of
from undrift.migrate.workshop import Workshop

#: Documents whose vectors are read of each field at a time: memory, not speed, decides.
_PAGE = 500
#: How often documents that are being written are looked at again before they count as differing.
_ROUNDS = 20


@dataclass(slots=True, kw_only=True)
class VectorDifference:
    """What a comparison of every vector found.

    Attributes:
        compared: documents looked at.
        requeued: differed while they were being written, and were looked at again.
        kinds: how many differ, by kind: `missing`, `extra`, `stale_text`, `stale_metadata`, `wrong_space`, `vector`.
        samples: at most ten ids of each kind.
        worst: the least cosine of two vectors of one document; None when there was no pair.
    """

    compared: int = 0
    requeued: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    samples: dict[str, list[str]] = field(default_factory=dict)
    worst: float | None = None


def compare_vectors(
    workshop: Workshop,
    *,
    rate: float | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    carry: Callable[[], int] = lambda: 0,
) -> VectorDifference:
    """Compare every record of the serving field with the follower's, with their vectors.

    Args:
        workshop: the means.
        rate: documents a second; None for no limit.
        on_progress: told how far it has come.
        carry: carries some dirty documents over; called while documents are awaited.

    Raises:
        NoMigration: there is no follower.
    """
    route = workshop.state().route
    follower = route.follower
    if follower is None:
        raise NoMigration(
            f"alias {workshop.alias} has one field only; there is nothing to compare",
            hint=f"undrift selftest {workshop.alias}",
        )
    found = VectorDifference()
    total = total_of(workshop, route, follower)
    throttle = Throttle(clock=workshop.clock, rate=rate, done=0, total=total, tell=on_progress)
    waiting: list[DocumentId] = []
    after = ""
    limit = min(_PAGE, throttle.page)
    while True:
        here = workshop.store_of(route.serving).ids(route.serving, after=after, limit=limit)
        there = workshop.store_of(follower).ids(follower, after=after, limit=limit)
        until = min((page[-1] for page in (here, there) if len(page) == limit), default=None)
        keys = [key for key in sorted({*here, *there}) if until is None or key <= until]
        found.compared += len(keys)
        waiting += _settle(workshop, route, follower, keys, found, final=False)
        throttle.passed(found.compared)
        if until is None:
            break
        after = until
    for attempt in range(_ROUNDS):
        if not waiting:
            break
        found.requeued += len(waiting) if attempt == 0 else 0
        waiting = _settle(workshop, route, follower, waiting, found, final=attempt == _ROUNDS - 1)
        if waiting and not carry():
            workshop.clock.sleep(0.1)
    return found


def _settle(
    workshop: Workshop,
    route: Route,
    follower: VectorField,
    keys: list[DocumentId],
    found: VectorDifference,
    *,
    final: bool,
) -> list[DocumentId]:
    """Count the differences of those documents that nobody writes; return the others that differ."""
    if not keys:
        return []
    before = workshop.ledger.journal_state(workshop.alias, keys)
    left = workshop.store_of(route.serving).fetch(route.serving, keys)
    right = workshop.store_of(follower).fetch(follower, keys)
    after = workshop.ledger.journal_state(workshop.alias, keys)
    waiting = []
    for key in keys:
        kind, cosine = _difference(left.get(key), right.get(key), follower)
        moving = before.get(key) != after.get(key) or after.get(key, (False, 0))[0]
        if kind and moving and not final:
            waiting.append(key)
            continue
        if cosine is not None:
            found.worst = cosine if found.worst is None else min(found.worst, cosine)
        if kind:
            found.kinds[kind] = found.kinds.get(kind, 0) + 1
            add_sample(found.samples, kind, key)
    return waiting


def _difference(left: Record | None, right: Record | None, follower: VectorField) -> tuple[str, float | None]:
    if left is None or right is None:
        return ("extra" if right is not None else "missing" if left is not None else ""), None
    content = content_hash(left.text)
    if right.tag.content != content or content_hash(right.text) != content or left.tag.content != content:
        return "stale_text", None
    if right.tag.space != follower.space or left.tag.space != follower.space:
        return "wrong_space", None
    a, b = left.vector.astype(np.float64), right.vector.astype(np.float64)
    cosine = float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
    # A NaN is no agreement.
    if not cosine >= MIN_COSINE:
        return "vector", cosine
    return ("" if left.metadata == right.metadata else "stale_metadata"), cosine
