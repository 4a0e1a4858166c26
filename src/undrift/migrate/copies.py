"""Compare vectors that were copied from one store to another with their originals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from undrift.domain.gate import MIN_COSINE
from undrift.domain.record import DocumentId, Vector
from undrift.domain.route import Route, VectorField
from undrift.domain.space import Metric
from undrift.migrate.workshop import Workshop


def cosine(left: Vector, right: Vector) -> float:
    """Return the cosine of two vectors, computed in float64; NaN when one of them has no direction."""
    a, b = left.astype(np.float64), right.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def likeness(original: Vector, copy: Vector, metric: Metric) -> float:
    """Say how much a copied vector is like its original: 1.0 when it is bit for bit the same.

    A store may keep fewer bits, or only the direction where the metric is the cosine; elsewhere its length counts.

    Args:
        original: float32, shape (d,).
        copy: float32, shape (d,).
        metric: how vectors are compared in their space.

    Returns:
        The cosine, or 1 minus the distance of both by the length of the original.
    """
    if np.array_equal(original, copy):
        return 1.0
    if metric is Metric.COSINE:
        return cosine(original, copy)
    a, b = original.astype(np.float64), copy.astype(np.float64)
    length = float(np.linalg.norm(a))
    return 1.0 - float(np.linalg.norm(a - b)) / length if length else 0.0


def compare_copies(
    workshop: Workshop, route: Route, follower: VectorField, keys: Sequence[DocumentId]
) -> tuple[list[float], list[DocumentId]]:
    """Compare vectors of the follower with those of the serving field; no model is called.

    Documents that are written or carried meanwhile, or whose text is not the same in both, are left out.

    Returns:
        How much each copy is like its original, and the ids of those documents whose copy is another vector.
    """
    metric = workshop.space_of(follower.space).metric
    before = workshop.ledger.journal_state(workshop.alias, keys)
    left = workshop.store_of(route.serving).fetch(route.serving, keys)
    right = workshop.store_of(follower).fetch(follower, keys)
    after = workshop.ledger.journal_state(workshop.alias, keys)
    alike: list[float] = []
    differing: list[DocumentId] = []
    for key in keys:
        original, copy = left.get(key), right.get(key)
        moving = before.get(key) != after.get(key) or after.get(key, (False, 0))[0]
        if moving or original is None or copy is None or original.tag != copy.tag:
            continue
        found = likeness(original.vector, copy.vector, metric)
        # A NaN is no agreement.
        if found >= MIN_COSINE:
            alike.append(found)
        else:
            differing.append(key)
    return alike, differing
