"""How fast two fields are compared: ids, hashes, metadata and tags of every document, no vectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.background import alone
from benchmarks.measuring import Judged, Row, Target, median, timed
from benchmarks.scene import ALIAS, Scene, documents, prepare
from undrift.domain.migration import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is compared, and how often."""

    documents: int
    rounds: int


QUICK = Size(documents=2_000, rounds=3)
FULL = Size(documents=100_000, rounds=5)

_TARGET = Target(judged=Judged.VALUE, at_least=50_000)


def measure(folder: Path, size: Size = FULL) -> list[Row]:
    """Return how many documents are compared in a second."""
    scene = prepare(folder / "scene", documents(size.documents))
    rates = alone(_verify, scene, size)
    return [Row(name=f"verify {size.documents:,} documents", ours=median(rates), unit="docs/s", target=_TARGET)]


def _verify(scene: Scene, size: Size) -> list[float]:
    rates = []
    with scene.open() as plane:
        plane.register(ALIAS, "new")
        plane.work(ALIAS, lambda migration: migration is None or migration.phase is Phase.READY, sample=0)
        for _ in range(size.rounds):
            reports: list[dict[str, object]] = []
            seconds = timed(lambda: reports.append(plane.verify(ALIAS, sample=0)))  # noqa: B023 - it is called at once
            if (reports[0]["compared"], reports[0]["verdict"]) != (size.documents, "pass"):
                raise ValueError(f"there is nothing to time in a verification that found {reports[0]}")
            rates.append(size.documents / seconds)
    return rates
