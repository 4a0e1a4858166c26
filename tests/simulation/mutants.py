"""The rules of the protocol, each taken out of the code that keeps it; the product has no switch for that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from tests.conformance.test_ledger_without_a_rule import MISSING, Missing, without
from tests.model.rules import Rule
from undrift.adapters.ledgers.sqlite import SqliteLedger
from undrift.flow import journal
from undrift.flow.router import Router
from undrift.migrate import steps, sync
from undrift.migrate.workshop import Workshop
from undrift.testing.simulation import Options, Report, simulate
from undrift.testing.simulation.options import SLOW, TIMING
from undrift.testing.simulation.scheduler import Hands

#: Few documents, many writes, one cutover after the other; what goes wrong is added by each mutant.
CROWD: Mapping[str, Any] = {
    "keys": 2,
    "documents": 2,
    "clients": 2,
    "operations": 16,
    "think_s": 0.06,
    "workers": 2,
    "verbs": ("cutover", "rollback_now"),
    "haste": 2.0,
    "migrations": 1,
    "chunk_size": 1,
    "safety_s": 1.6,
    "outlives": True,
    "known_dead": False,
}
#: The same, with so many writes that whatever a worker does is overtaken by one.
HOT: Mapping[str, Any] = {**CROWD, "operations": 45, "think_s": 0.03, "insert_absent": False}
#: A back-fill of many documents, with writes to each of them.
FILLING: Mapping[str, Any] = {
    **CROWD,
    "keys": 12,
    "documents": 12,
    "operations": 30,
    "think_s": 0.04,
    "batch": 3,
    "chunk_size": 3,
    "insert_absent": False,
}
#: Requests that stay under way long after whoever sent them has been given up.
FAR: Mapping[str, Any] = {
    **CROWD,
    "keys": 3,
    "documents": 3,
    "insert_absent": False,
    "mute": 0.1,
    "timing": {**TIMING, "work_lease_s": 0.3, "deadline_s": 0.3, "fence_horizon_s": 0.6, "write_timeout_s": 2.0},
}
#: Work that is given up long before what was sent for it has landed.
HASTY: Mapping[str, Any] = {
    **FAR,
    "mute": 0.02,
    "late": 0.1,
    "workers": 3,
    "keys": 6,
    "documents": 6,
    "batch": 2,
    "operations": 50,
    "think_s": 0.03,
    "latency_s": 0.002,
    "timing": {**FAR["timing"], "work_lease_s": 0.2, "fence_horizon_s": 0.8},
}
#: Writers that are stopped again and again, for longer than anybody waits for them.
SLEEPY: Mapping[str, Any] = {
    **CROWD,
    "keys": 1,
    "documents": 1,
    "clients": 3,
    "workers": 3,
    "operations": 40,
    "think_s": 0.04,
    "stop": 0.05,
    "timing": {**TIMING, "deadline_s": 0.1, "fence_horizon_s": 0.1},
}
#: The same in a back-fill whose pieces are under way for long, while most documents of them are left alone.
WIDE: Mapping[str, Any] = {
    **HASTY,
    "keys": 24,
    "documents": 24,
    "operations": 60,
    "batch": 3,
    "chunk_size": 4,
    "kill": 0.01,
}
#: Writes that take so long that their documents are carried over before they have ended.
CREEPING: Mapping[str, Any] = {
    **CROWD,
    "keys": 1,
    "documents": 1,
    "operations": 5,
    "think_s": 2.0,
    "safety_s": 25.0,
    "late": 0.12,
    "timing": SLOW,
}


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A rule that is missing, and where its absence shows soon.

    Attributes:
        name: the rule.
        rule: which of the protocol's twelve it is; None for one that our way of keeping them adds.
        planted: the line of the SQLite ledger that keeps it.
        patch: takes it out elsewhere.
        scene: what has to go on for its absence to show.
        budget: seeds within which it shows, counted from 0.
        seed: the one at which it showed when this was written; tried first, so that a test of it is short.
    """

    name: str
    rule: Rule | None = None
    planted: Missing | None = None
    patch: Callable[[], Any] | None = None
    scene: Mapping[str, Any] = field(default_factory=lambda: dict(CROWD))
    budget: int = 300
    seed: int = 0

    @contextmanager
    def in_place(self) -> Iterator[Callable[..., Any]]:
        """The product without the rule; yields what makes its ledger."""
        if self.patch is None:
            yield without(self.planted) if self.planted is not None else SqliteLedger
            return
        with self.patch():
            yield SqliteLedger

    def options(self, seed: int) -> Options:
        return Options(seed=seed, **self.scene)

    def search(self, hands: Hands, *, most: int | None = None) -> tuple[int, Report] | None:
        """A seed with which a promise is broken, the known one or the first; None if there is none within the budget.

        An error that nobody expected does not count: a mutant must not be caught by falling over.
        """
        with self.in_place() as ledger:
            for seed in (self.seed, *range(self.budget if most is None else most)):
                report = simulate(self.options(seed), ledger=ledger, hands=hands)
                if report.violation is not None and report.violation.promise != "error":
                    return seed, report
        return None


def _planted(rule: str) -> Missing:
    (found,) = (missing for missing in MISSING if missing.rule == rule)
    return found


def _newest_epoch(self: Router, alias: Any) -> int:
    return self._routes[alias].epoch


NO_REVERSE_JOURNAL = Missing(
    rule="reverse journal",
    module="migrations",
    line="                follower=route.serving,\n                mode=Mode.JOURNAL,\n",
    instead="                follower=route.serving,\n                mode=Mode.PASSIVE,\n",
)

MUTANTS = (
    Mutant(
        name="drain before back-fill",
        seed=1,
        rule=Rule.DRAIN_BEFORE_BACKFILL,
        patch=lambda: patch.object(SqliteLedger, "unacknowledged", lambda *_: []),
        scene={**CROWD, "late": 0.05},
    ),
    Mutant(name="mark before write", seed=3, rule=Rule.MARK_BEFORE_WRITE, planted=_planted("mark before write")),
    Mutant(
        name="foreign source waits",
        seed=4,
        rule=Rule.FOREIGN_SOURCE_WAITS,
        planted=_planted("foreign source waits"),
        scene={**HOT, "haste": 8.0, "mute": 0.03, "lose": 0.03},
    ),
    Mutant(name="reverse journal", rule=Rule.REVERSE_JOURNAL, planted=NO_REVERSE_JOURNAL),
    Mutant(
        name="close bumps seq", seed=11, rule=Rule.CLOSE_BUMPS_SEQ, planted=_planted("close bumps seq"), scene=CREEPING
    ),
    Mutant(
        name="close checks reaped",
        seed=1,
        rule=Rule.CLOSE_CHECKS_REAPED,
        planted=_planted("close checks reaped: the documents are dirty again"),
        scene={**CROWD, "late_send": 0.2, "haste": 6.0},
    ),
    Mutant(
        name="reap waits D",
        seed=1,
        rule=Rule.REAP_WAITS_D,
        planted=_planted("reap waits D"),
        scene={**HOT, "mute": 0.05, "late": 0.05, "timing": {**TIMING, "deadline_s": 0.2, "fence_horizon_s": 0.5}},
    ),
    Mutant(
        name="clear needs no open",
        seed=1,
        rule=Rule.CLEAR_NEEDS_NO_OPEN,
        planted=_planted("clear needs no open"),
        scene=CREEPING,
    ),
    Mutant(
        name="clear needs same seq",
        seed=0,
        rule=Rule.CLEAR_NEEDS_SAME_SEQ,
        planted=_planted("clear needs same seq"),
    ),
    Mutant(
        name="publish skips touched",
        seed=3,
        rule=Rule.PUBLISH_SKIPS_TOUCHED,
        planted=_planted("publish skips touched"),
        scene={**FILLING, "slow_model": 16.0},
    ),
    Mutant(
        name="sync defers publish",
        seed=7,
        rule=Rule.SYNC_DEFERS_PUBLISH,
        planted=_planted("sync defers publish"),
        scene={**FILLING, "late": 0.1},
    ),
    Mutant(
        name="takeover waits D (claims)",
        seed=0,
        rule=Rule.TAKEOVER_WAITS_D,
        planted=_planted("takeover of a claim waits D"),
        scene=HASTY,
    ),
    Mutant(
        name="takeover waits D (pieces)",
        seed=46,
        rule=Rule.TAKEOVER_WAITS_D,
        planted=_planted("takeover of a piece waits D"),
        scene=WIDE,
    ),
    Mutant(
        name="acknowledge after drain",
        seed=2,
        patch=lambda: patch.object(Router, "_acknowledged", _newest_epoch),
        scene={**CROWD, "late": 0.05},
    ),
    Mutant(
        name="an unanswered write is not over",
        seed=28,
        patch=lambda: patch.object(Router, "linger", lambda *_: None),
        scene={**CROWD, "mute": 0.1},
    ),
    Mutant(
        name="a claim is kept while a write of it may land",
        seed=61,
        patch=lambda: patch.object(
            sync._Sending, "unanswered", property(lambda _: False, lambda *_: None), create=True
        ),
        scene={**FAR, "mute": 0.03},
        budget=600,
    ),
    Mutant(
        name="a worker looks at its lease before it sends",
        seed=373,
        patch=lambda: patch.object(Workshop, "require_lease", lambda *_: None),
        scene={**CROWD, "stop": 0.03},
        budget=600,
    ),
    Mutant(
        name="a client looks at its deadline before it sends",
        seed=71,
        patch=lambda: patch.object(journal, "LEASE_SAFETY", 1e9),
        scene=SLEEPY,
        budget=600,
    ),
    Mutant(
        name="a client looks at its lease before it writes",
        seed=2,
        patch=lambda: patch.object(Router, "may_write", lambda _: True),
        scene={**CROWD, "stop": 0.03},
    ),
    Mutant(
        name="publish skips what is touched and clean",
        seed=3,
        planted=_planted("publish skips touched: clean ones too"),
        scene={**FILLING, "slow_model": 16.0},
    ),
    Mutant(
        name="back-fill waits for scans that lag",
        seed=8,
        patch=lambda: patch.object(steps, "_await_scans", lambda *_: None),
        scene={**CROWD, "keys": 6, "documents": 1, "scans_lag_s": 0.5, "think_s": 0.03},
    ),
    Mutant(
        name="a claim is one owner's", seed=3, planted=_planted("a claim is one owner's"), scene={**CROWD, "late": 0.05}
    ),
)
