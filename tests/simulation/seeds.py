"""Run many seeds, and say what is found so that anybody can see it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from undrift.testing.simulation import Hands, Report, simulate

#: Events that are shown of a seed that broke a promise.
_LAST = 40


@dataclass(slots=True, kw_only=True)
class Tally:
    """What came of some seeds."""

    seeds: int = 0
    virtual_s: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    broken: list[int] = field(default_factory=list)

    def add(self, report: Report) -> None:
        self.seeds += 1
        self.virtual_s += report.virtual_s
        self.counts.update(report.counts)
        if report.violation is not None:
            self.broken.append(report.options.seed)

    def take(self, other: Tally) -> None:
        self.seeds += other.seeds
        self.virtual_s += other.virtual_s
        self.counts.update(other.counts)
        self.broken += other.broken

    def __str__(self) -> str:
        names = ("calls", "acknowledged", "kills", "stops", "late sends", "migrations", "rollback", "rollback_now")
        counted = {name: self.counts[name] for name in names}
        counted["cutovers"] = self.counts["cutover"] + self.counts["cutover_frozen"]
        shown = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counted.items())
        return (
            f"{self.seeds:,} seeds, {self.virtual_s:,.0f} virtual seconds: {shown}\n"
            f"promises broken by {len(self.broken)} seeds{': ' if self.broken else ''}"
            f"{', '.join(map(str, self.broken[:20]))}"
        )


def run(seeds: Iterable[int], hands: Hands, on_broken: Callable[[int], None] = lambda _: None) -> Tally:
    tally = Tally()
    for seed in seeds:
        report = simulate(seed, hands=hands)
        tally.add(report)
        if report.violation is not None:
            on_broken(seed)
    return tally


def story(seed: int, *, last: int | None = _LAST) -> str:
    """A seed with everything it decided, its last events, and how to see all of it."""
    report = simulate(seed, trace=True)
    options = "\n".join(f"  {name} = {value!r}" for name, value in report.options.as_dict().items())
    events = report.trace if last is None else report.trace[-last:]
    verdict = f"{report.violation}" if report.violation else "every promise is kept"
    return (
        f"seed {seed}: {verdict}\n{options}\n"
        + "\n".join(events)
        + f"\nsee all of it: python -m tests.simulation {seed} --trace\n"
    )


def share_of(seeds: range) -> Tally:
    """Run seeds in a process of their own; a process that is spawned finds it here, and not in a `__main__`."""
    hands = Hands()
    try:
        return run(seeds, hands)
    finally:
        hands.close()
