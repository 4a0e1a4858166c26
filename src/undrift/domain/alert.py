"""From what looks find to what people are told: raised, confirmed, told, told again, and over.

Two steps, both pure. `after` says what an alert is once more has been found; `owed` says what a receiver has to be
told, by comparing what the alert is with what that receiver was told last. So nothing is lost when a receiver is down,
a process dies or an alert is silenced for a while: it stays owed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from undrift.domain.finding import Finding, Severity, State

#: The check that finds receivers which take no alerts.
RECEIVER = "receiver"
#: No look takes longer, and no two clocks are farther apart.
SLOWEST = timedelta(hours=2)


class Stage(Enum):
    """How far an alert has come."""

    #: A look found something, and a second one has to confirm it.
    PENDING = "pending"
    #: It is so.
    FIRING = "firing"
    #: It was so, and is over.
    RESOLVED = "resolved"


class Event(Enum):
    """Why a receiver is told."""

    #: It is so, and it did not know.
    FIRING = "firing"
    #: It is about something else than it was told: a day has moved, or come nearer.
    CHANGED = "changed"
    #: It is more severe than it was told.
    WORSE = "worse"
    #: It is still so.
    STILL = "still"
    #: Somebody has taken it on.
    ACKNOWLEDGED = "acknowledged"
    #: It is over.
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When findings become an alert, and when it is told again.

    Attributes:
        looks_to_raise: bad looks in a row until it fires.
        looks_to_resolve: good looks in a row until it is over.
        renotify_s: seconds after which it is told again while it fires and nobody has acknowledged it; None for never.
    """

    looks_to_raise: int = 1
    looks_to_resolve: int = 2
    renotify_s: float | None = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a receiver is told of an alert.

    Attributes:
        renotify_s: seconds after which it is told again while it fires; None for never.
        keeps_alive: whether it takes the alert for over when it is not told again, so that it is told in any case.
        hears_acknowledged: whether it wants to know that somebody has taken it on.
        muted: whether nobody is told now.
    """

    renotify_s: float | None = None
    keeps_alive: bool = False
    hears_acknowledged: bool = True
    muted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a receiver was told of an alert last."""

    event: Event
    severity: Severity
    occasion: str
    moment: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One thing over time.

    Attributes:
        finding: what was found when it was last known to be bad.
        stage: how far it has come.
        began: when it began to fire; until then, when it was first found.
        since: when it came to its stage.
        looked: when it was last looked at and something was known.
        bad: bad looks in a row.
        good: good looks in a row.
        acknowledged: the occasion that somebody has taken on; None for none.
        by: who has taken it on, and why.
        told: what each receiver was told last, by its name.
        over: why it is over, in a sentence; empty while it is not.
    """

    finding: Finding
    stage: Stage
    began: datetime
    since: datetime
    looked: datetime
    bad: int = 0
    good: int = 0
    acknowledged: str | None = None
    by: str = ""
    told: Mapping[str, Told] = field(default_factory=dict)
    over: str = ""

    @property
    def key(self) -> str:
        """What it is about."""
        return self.finding.key

    @property
    def is_acknowledged(self) -> bool:
        """Whether somebody has taken on what it is about now."""
        return self.stage is Stage.FIRING and self.acknowledged == self.finding.occasion

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "key": self.key,
            "stage": self.stage.value,
            "began": self.began.isoformat(),
            "since": self.since.isoformat(),
            "looked": self.looked.isoformat(),
            "bad": self.bad,
            "good": self.good,
            "acknowledged": self.acknowledged,
            "by": self.by,
            "over": self.over,
            "finding": self.finding.as_dict(),
            "told": {
                name: {
                    "event": told.event.value,
                    "severity": told.severity.value,
                    "occasion": told.occasion,
                    "moment": told.moment.isoformat(),
                }
                for name, told in self.told.items()
            },
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Alert:
        """Read back the JSON form."""
        return cls(
            finding=Finding.from_dict(values["finding"]),
            stage=Stage(values["stage"]),
            began=datetime.fromisoformat(values["began"]),
            since=datetime.fromisoformat(values["since"]),
            looked=datetime.fromisoformat(values["looked"]),
            bad=values["bad"],
            good=values["good"],
            acknowledged=values["acknowledged"],
            by=values["by"],
            over=values["over"],
            told={
                name: Told(
                    event=Event(told["event"]),
                    severity=Severity(told["severity"]),
                    occasion=told["occasion"],
                    moment=datetime.fromisoformat(told["moment"]),
                )
                for name, told in values["told"].items()
            },
        )


def after(alert: Alert | None, finding: Finding, policy: Policy) -> Alert | None:
    """Return what an alert is once more has been found; None where there is nothing to remember.

    Args:
        alert: what is remembered; None for nothing.
        finding: what one look found.
        policy: the policy of its check.
    """
    if finding.state is State.UNKNOWN or (alert is not None and _is_older(finding, alert)):
        return alert
    if finding.state is State.BAD:
        return _after_bad(alert, finding, policy)
    return _after_good(alert, finding, policy) if alert is not None else None


def _is_older(finding: Finding, alert: Alert) -> bool:
    """Whether a slower look found it before the last one."""
    # The last one is never so much later; its clock was wrong and has been set back.
    return timedelta() < alert.looked - finding.moment <= SLOWEST


def accepted(alert: Alert, *, moment: datetime, why: str) -> Alert:
    """Return an alert that was ended by hand, because what it is about is accepted as the new normal."""
    return _over(alert, moment, why) if alert.stage is Stage.FIRING else alert


def owed(alert: Alert, receiver: str, now: datetime, terms: Terms) -> Event | None:
    """Return why a receiver has to be told of an alert now; None when it need not be.

    Args:
        alert: what it is.
        receiver: the receiver's name.
        now: the time.
        terms: how it is told.
    """
    told = alert.told.get(receiver)
    knows = told is not None and told.event is not Event.RESOLVED
    if alert.stage is Stage.PENDING or alert.key == f"{RECEIVER}/{receiver}":
        return None
    if terms.muted:
        # Who takes silence for the end has to hear that it is not over.
        lives = knows and terms.keeps_alive and alert.stage is Stage.FIRING
        return _again(told, now, terms) if told is not None and lives else None
    if alert.stage is Stage.RESOLVED:
        return Event.RESOLVED if knows else None
    if told is None or not knows:
        return Event.FIRING
    if told.occasion != alert.finding.occasion:
        return Event.CHANGED
    if alert.finding.severity.rank > told.severity.rank:
        return Event.WORSE
    if alert.is_acknowledged and terms.hears_acknowledged and told.event is not Event.ACKNOWLEDGED:
        return Event.ACKNOWLEDGED
    return None if alert.is_acknowledged and not terms.keeps_alive else _again(told, now, terms)


def _again(told: Told, now: datetime, terms: Terms) -> Event | None:
    # What was told so much later than now was told by a clock that was set back.
    is_due = terms.renotify_s is not None and abs(now - told.moment) >= timedelta(seconds=terms.renotify_s)
    return Event.STILL if is_due else None


def with_told(alert: Alert, receiver: str, event: Event, moment: datetime) -> Alert:
    """Return an alert of which a receiver was told."""
    told = Told(event=event, severity=alert.finding.severity, occasion=alert.finding.occasion, moment=moment)
    return replace(alert, told={**alert.told, receiver: told})


def _after_bad(alert: Alert | None, finding: Finding, policy: Policy) -> Alert:
    moment = finding.moment
    if alert is None or alert.stage is Stage.RESOLVED:
        told = alert.told if alert is not None else {}
        alert = Alert(finding=finding, stage=Stage.PENDING, began=moment, since=moment, looked=moment, told=told)
    if finding.severity.rank > alert.finding.severity.rank:
        # Nobody has taken on that it is worse.
        alert = replace(alert, acknowledged=None, by="")
    seen = replace(alert, finding=finding, looked=moment, bad=alert.bad + 1, good=0)
    if seen.stage is Stage.PENDING and seen.bad >= policy.looks_to_raise:
        return replace(seen, stage=Stage.FIRING, began=moment, since=moment)
    return seen


def _after_good(alert: Alert, finding: Finding, policy: Policy) -> Alert | None:
    moment = finding.moment
    match alert.stage:
        case Stage.PENDING:
            # What nobody was told of need not be remembered.
            known = any(told.event is not Event.RESOLVED for told in alert.told.values())
            return _over(alert, moment, finding.words) if known else None
        case Stage.FIRING:
            good = alert.good + 1
            if good >= policy.looks_to_resolve:
                return _over(alert, moment, finding.words)
            return replace(alert, looked=moment, bad=0, good=good)
        case Stage.RESOLVED:
            return replace(alert, looked=moment)


def _over(alert: Alert, moment: datetime, why: str) -> Alert:
    return replace(
        alert, stage=Stage.RESOLVED, since=moment, looked=moment, bad=0, good=0, acknowledged=None, by="", over=why
    )
