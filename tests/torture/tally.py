"""The account of a long torture, kept in a file, so that one that is interrupted goes on counting."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from tests.torture.rounds import Outcome

#: Rounds that one world lives through before a new one is made.
ROUNDS_OF_A_WORLD = 4


@dataclass(kw_only=True)
class Tally:
    """Figures by world, and every violation.

    Attributes:
        path: the file.
        seed: what every round's own seed comes from.
        rounds: how many rounds were begun, over all runs.
        seconds: how long it has taken, over all runs.
        figures: how many of what, by world.
        violations: a sentence for each broken promise, with world and seed.
    """

    path: Path
    seed: int
    rounds: int = 0
    seconds: float = 0.0
    figures: dict[str, Counter[str]] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = Lock()
        self._since = time.monotonic()

    @classmethod
    def at(cls, path: Path, seed: int) -> Tally:
        """Go on with a file's account, or begin one; the seed of a file that is there is kept."""
        if not path.exists():
            return cls(path=path, seed=seed)
        kept = json.loads(path.read_text(encoding="utf-8"))
        figures = {world: Counter(counts) for world, counts in kept.pop("figures").items()}
        return cls(path=path, figures=figures, **kept)

    @property
    def kills(self) -> int:
        return sum(counts["kills"] for counts in self.figures.values())

    def next_round(self) -> int:
        """Return the number of another round."""
        with self._lock:
            self.rounds += 1
            self._save()
            return self.rounds

    def add(self, world: str, outcome: Outcome) -> None:
        """Count a round that is over."""
        with self._lock:
            self.figures.setdefault(world, Counter()).update(outcome.figures)
            self.violations += [f"{world}, seed {outcome.seed}: {sentence}" for sentence in outcome.violations]
            now = time.monotonic()
            self.seconds, self._since = self.seconds + now - self._since, now
            self._save()

    def line(self) -> str:
        """Say in a line how far it is."""
        figures = sum(self.figures.values(), Counter())
        words = (
            "kills",
            "stops beyond lease and horizon",
            "writes",
            "writes acknowledged",
            "writes unknown",
            "searches",
        )
        counts = ", ".join(f"{figures[word]:,} {word}" for word in (*words, "documents compared"))
        return f"{self.seconds:,.0f} s, {figures['rounds']:,} rounds: {counts}, {len(self.violations):,} violations"

    def table(self) -> str:
        """Lay all figures out, a column for each world."""
        worlds = sorted(self.figures)
        names = sorted({name for counts in self.figures.values() for name in counts})
        width = max([len(name) for name in names] + [10])
        lines = [f"{'':{width}}" + "".join(f"{world:>18}" for world in worlds) + f"{'all':>12}"]
        for name in names:
            counts = [self.figures[world][name] for world in worlds]
            lines.append(f"{name:{width}}" + "".join(f"{count:18,}" for count in counts) + f"{sum(counts):12,}")
        return "\n".join(lines)

    def _save(self) -> None:
        kept = {
            "seed": self.seed,
            "rounds": self.rounds,
            "seconds": self.seconds,
            "figures": self.figures,
            "violations": self.violations,
        }
        temporary = self.path.with_suffix(".new")
        temporary.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(kept, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)
