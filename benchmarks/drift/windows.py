"""Pairs of windows over real texts: an earlier one, and a later one in which something is different, or nothing."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.wordllama_package import load

#: Texts of 26 domains, beside the project where they are there; no part of them is.
DOMAINS = Path(__file__).resolve().parents[3] / "shared" / "data" / "drift-domains" / "corpus.jsonl.gz"
#: Texts of a domain at most.
_OF_EACH = 2000
#: Texts embedded at a time.
_BATCH = 512
#: Domains that a pair of windows is drawn from.
_MIXED = 8

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Texts:
    """The vectors of all texts by their domain, of length 1, and a matrix that turns them into another model's."""

    by_domain: dict[str, Vectors]
    turn: Vectors

    def any(self) -> Vectors:
        """Return all of them."""
        return np.concatenate(list(self.by_domain.values()))


@dataclass(frozen=True, slots=True)
class Pair:
    """Two windows."""

    earlier: Vectors
    later: Vectors


def read() -> Texts | None:
    """Embed the texts with the local model; None where they are not there."""
    if not DOMAINS.is_file():
        return None
    texts: dict[str, list[str]] = {}
    with gzip.open(DOMAINS, "rt", encoding="utf-8") as lines:
        for line in lines:
            item = json.loads(line)
            texts.setdefault(item["domain"], []).append(f"{item['title']} {item['text']}".strip())
    model, rng = load(), np.random.default_rng(0)
    found = {}
    for domain, all_of_it in sorted(texts.items()):
        chosen = [all_of_it[at] for at in rng.permutation(len(all_of_it))[:_OF_EACH]]
        parts = [model.embed(chosen[at : at + _BATCH], norm=True) for at in range(0, len(chosen), _BATCH)]
        found[domain] = np.concatenate(parts).astype(np.float32)
    size = next(iter(found.values())).shape[1]
    return Texts(found, np.linalg.qr(rng.standard_normal((size, size)))[0].astype(np.float32))


def _nothing(texts: Texts, names: list[str], shares: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(names, shares, strict=True))


def _mix(points: float) -> Callable[[Texts, list[str], NDArray[np.float64]], dict[str, float]]:
    def shares_of(texts: Texts, names: list[str], shares: NDArray[np.float64]) -> dict[str, float]:
        more = shares * (1 - shares[0] - points) / (1 - shares[0])
        more[0] = shares[0] + points
        return dict(zip(names, more, strict=True))

    return shares_of


def _novel(share: float) -> Callable[[Texts, list[str], NDArray[np.float64]], dict[str, float]]:
    def shares_of(texts: Texts, names: list[str], shares: NDArray[np.float64]) -> dict[str, float]:
        return {**dict(zip(names, shares * (1 - share), strict=True)), "new": share}

    return shares_of


#: What is different about the later window, by the words of the table.
SCENARIOS: dict[str, tuple[Callable[[Texts, list[str], NDArray[np.float64]], dict[str, float]], float]] = {
    "nothing": (_nothing, 0.0),
    "mix +10": (_mix(0.10), 0.0),
    "mix +20": (_mix(0.20), 0.0),
    "novel 5 %": (_novel(0.05), 0.0),
    "novel 10 %": (_novel(0.10), 0.0),
    "foreign 2 %": (_nothing, 0.02),
    "foreign 5 %": (_nothing, 0.05),
}


def pair(texts: Texts, scenario: str, seed: int, *, earlier: int, later: int) -> Pair:
    """Draw a pair of windows: eight domains at random in equal shares, and what the scenario says.

    No text is in both. A novel topic is another domain of the 26; foreign vectors are those of the same texts, turned
    by a fixed rotation, as an unrelated model of the same size would give them.
    """
    shares_of, foreign = SCENARIOS[scenario]
    # The scenario is not part of the seed: all of them are drawn from the same domains.
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(sorted(texts.by_domain))[: _MIXED + 1]
    names = [str(name) for name in drawn[:_MIXED]]
    equal = np.full(_MIXED, 1 / _MIXED)
    pools = {name: rng.permutation(texts.by_domain[name]) for name in [*names, str(drawn[-1])]}
    pools["new"] = pools.pop(str(drawn[-1]))
    first = _taken(pools, dict(zip(names, equal, strict=True)), earlier, rng)
    second = _taken(pools, shares_of(texts, names, equal), later, rng)
    turned = round(foreign * later)
    second[:turned] = second[:turned] @ texts.turn
    return Pair(first, rng.permutation(second))


def _taken(pools: dict[str, Vectors], shares: dict[str, float], count: int, rng: np.random.Generator) -> Vectors:
    """Take a window out of the pools; how many of each domain is drawn, as it is in life."""
    names = list(shares)
    wanted = rng.multinomial(count, np.array([shares[name] for name in names]) / sum(shares.values()))
    parts = []
    for name, number in zip(names, wanted, strict=True):
        parts.append(pools[name][:number])
        pools[name] = pools[name][number:]
    return rng.permutation(np.concatenate(parts))
