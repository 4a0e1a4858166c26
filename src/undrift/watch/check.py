"""What a check is: something that the look-out looks at again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from undrift.domain.alert import Policy
from undrift.domain.finding import Finding

P = TypeVar("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """A figure of a check's findings as a metric, with the label `subject`.

    Attributes:
        figure: its name in `Finding.figures`.
        metric: its name for Prometheus: `undrift_…` with its base unit, as in `undrift_probe_displacement_ratio`.
        about: what it is, in a sentence.
    """

    figure: str
    metric: str
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Generic[P]):
    """One thing that is looked at.

    Attributes:
        name: as in `Finding.check`; also its table `[watch.NAME]` and its runbook `docs/operations/alerts.md#NAME`.
        about: what it looks for, in a few words.
        look: looks once. It gives a finding for everything that it looks at, also for what is as it should be, and an
            UNKNOWN one for what it cannot look at: what it was told of before and gives no finding for does not concern
            anybody any more, and is over. It may raise; then nothing is known, and the others go on.
        every_s: seconds between two looks, unless the configuration says otherwise.
        policy: when its findings become an alert, and when that is told again.
        confirm_s: seconds after a look that found something new until it looks again; None for the next time.
        gauges: its figures as metrics.
    """

    name: str
    about: str
    look: Callable[[P], Iterable[Finding]]
    every_s: float
    policy: Policy = field(default_factory=Policy)
    confirm_s: float | None = None
    gauges: tuple[Gauge, ...] = ()
