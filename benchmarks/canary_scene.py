"""Providers with noise of their own, and models that change, made of real vectors."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Chance = np.random.Generator
#: What a provider answers to so many calls, made of the vectors that it would give without noise.
Provider = Callable[[Chance, Numbers, int], Numbers]

#: Where the vectors of a model and of its silently changed versions are looked for, if not under `BENCH_DATA`.
_PLACES = (Path("../shared/data/vectors"), Path("shared/data/vectors"))
_FILE = "probe_changes.npz"
#: Changes that are none: another batch size, and nothing at all.
HARMLESS = frozenset({"base", "bs1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """One model and its changed versions, on the same texts.

    Attributes:
        strata: of each text.
        base: float64, shape (n, d).
        changed: the same texts by each changed version.
    """

    strata: list[str]
    base: Numbers
    changed: Mapping[str, Numbers]


def load() -> Changes | None:
    """Return the vectors, or None where they are not at hand."""
    named = os.environ.get("BENCH_DATA")
    places = [Path(named)] if named else [Path(__file__).parents[1] / place for place in _PLACES]
    file = next((place / _FILE for place in places if (place / _FILE).is_file()), None)
    if file is None:
        return None
    with np.load(file, allow_pickle=False) as kept:
        vectors = {name: kept[name].astype(np.float64) for name in kept.files if kept[name].ndim == 2}
        strata = [str(name) for name in kept["strata"]]
    base = vectors["base"]
    return Changes(strata=strata, base=base, changed={**vectors, **_made(base)})


def _made(base: Numbers) -> dict[str, Numbers]:
    """Return changes of a size that is known: each vector moved by itself, or all turned together."""
    chance = np.random.default_rng(11)
    turned = chance.standard_normal((base.shape[1], base.shape[1]))
    turn = np.linalg.qr(turned)[0]
    generator = (turned - turned.T) * 0.1 / np.sqrt(base.shape[1])
    steps = np.abs(base).max(axis=1)[:, None] / 127
    small = np.linalg.solve(np.eye(len(generator)) - generator / 2, np.eye(len(generator)) + generator / 2)
    return {
        **{f"displaced {size:g}": moved(chance, base, np.full(len(base), size)) for size in (1e-5, 1e-4, 1e-3, 1e-2)},
        "rotation, small": base @ small.T,
        "rotation": base @ turn.T,
        "int8 output": np.round(base / steps) * steps,
    }


def moved(chance: Chance, vectors: Numbers, sizes: Numbers) -> Numbers:
    """Move each vector by a cosine distance in a direction of its own; lengths stay."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit = vectors / lengths
    aside = chance.standard_normal(vectors.shape)
    aside -= (aside * unit).sum(axis=-1, keepdims=True) * unit
    aside /= np.linalg.norm(aside, axis=-1, keepdims=True)
    cosines = 1 - np.asarray(sizes)[..., None]
    found: Numbers = lengths * (cosines * unit + np.sqrt(np.maximum(0, 1 - cosines**2)) * aside)
    return found


def exact(_chance: Chance, vectors: Numbers, calls: int) -> Numbers:
    """The same every time."""
    return np.repeat(vectors[None], calls, axis=0)


def jitter(chance: Chance, vectors: Numbers, calls: int) -> Numbers:
    """As users of hosted models report: every other answer is exact, the others differ by about 1e-5."""
    shape = (calls, len(vectors))
    sizes = np.exp(chance.normal(np.log(1e-5), 1.0, shape)) * (chance.random(shape) < 0.5)
    return moved(chance, np.repeat(vectors[None], calls, axis=0), sizes)


def noisy(chance: Chance, vectors: Numbers, calls: int) -> Numbers:
    """Two answers to one text differ by 0.08."""
    return moved(chance, np.repeat(vectors[None], calls, axis=0), np.full((calls, len(vectors)), 0.041))


def fleets(delta: Numbers) -> tuple[Provider, Provider]:
    """Servers of two kinds of arithmetic that take turns: text by text, and request by request.

    A call of all probes is sent in requests of eight, in another order each time, as undrift does.

    Args:
        delta: what the second kind adds to the vectors of all texts, by row, shape (n, d); rows as they are drawn.
    """

    def by_text(chance: Chance, vectors: Numbers, calls: int) -> Numbers:
        kinds = chance.random((calls, len(vectors), 1)) < 0.5
        found: Numbers = vectors + kinds * delta
        return found

    def by_request(chance: Chance, vectors: Numbers, calls: int) -> Numbers:
        requests = np.argsort(chance.random((calls, len(vectors))), axis=1) // 8
        kinds = np.take_along_axis(chance.random(requests.shape) < 0.5, requests, axis=1)
        found: Numbers = vectors + kinds[:, :, None] * delta
        return found

    return by_text, by_request


def draw(chance: Chance, strata: list[str], count: int) -> NDArray[np.int64]:
    """Draw texts from all strata alike."""
    names = np.array(strata)
    kinds = chance.permutation(sorted(set(strata)))
    shares = [count // len(kinds) + (place < count % len(kinds)) for place in range(len(kinds))]
    rows = [
        chance.choice(np.flatnonzero(names == kind), share, replace=False)
        for kind, share in zip(kinds, shares, strict=True)
    ]
    return np.concatenate(rows)
