"""The look-out: looks at what is due, raises and resolves alerts, tells of them, and says when it looks next."""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from undrift.control.checks import CHECKS
from undrift.domain.alert import RECEIVER, Alert, Policy, Stage
from undrift.domain.finding import Finding, Severity, State
from undrift.errors import UndriftError
from undrift.watch.check import Check

if TYPE_CHECKING:
    from undrift.control.plane import ControlPlane

#: The check of the look-out itself: that something is not looked at any more.
STALE = "stale"
#: The subject of a look that could not look at anything.
ALL = "all"
#: The look-out wakes at least and at most so often, and a receiver that took nothing is left alone for so long, in
#: seconds.
TICK_S, LEAST_S, PATIENCE_S = 15.0, 1.0, 60.0
#: What the look-out finds about itself is so at once.
_AT_ONCE = Policy(looks_to_resolve=1)
#: So much earlier or later than planned is looked, so that many hosts do not look at one moment.
_JITTER = 0.1
_FOUND = "watch/found/"
#: What nobody has looked at for so long is looked at nowhere.
_ABANDONED = timedelta(days=3)


@dataclass(slots=True, kw_only=True)
class Round:
    """What one round of the look-out did.

    Attributes:
        looked: the checks that were looked at.
        findings: what they found.
        tellings: what was told.
        problems: receivers that did not take it, and why.
        elsewhere: checks that another process is looking at, and until when it may take.
    """

    looked: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    tellings: list[dict[str, Any]] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    elsewhere: dict[str, datetime | None] = field(default_factory=dict)


class LookOut:
    """The checks of a control plane, on their schedules."""

    def __init__(
        self,
        plane: ControlPlane,
        *,
        checks: Sequence[Check[ControlPlane]] = CHECKS,
        chance: random.Random | None = None,
    ) -> None:
        """Look at nothing yet.

        Args:
            plane: what is looked at, and where it is remembered.
            checks: what is looked for.
            chance: for the jitter.
        """
        self._plane = plane
        self._settings = plane.config.settings.watch
        self.checks = [check for check in checks if self._enabled(check)]
        self._chance = chance or random.Random()
        self._left_alone: dict[str, float] = {}
        #: When the last round ended; None before the first.
        self.ended: datetime | None = None

    def round(self, names: Collection[str] = (), *, anyway: bool = False) -> Round:
        """Look at what is due, and tell what has to be told.

        Args:
            names: only these checks; all by default.
            anyway: look also at what is not due, and at once a second time where that confirms.
        """
        done = Round()
        for check in self._named(names):
            if self._look(check, done, anyway=anyway):
                pending = [one for one in self._alerts_of(check) if one.stage is Stage.PENDING]
                if anyway and pending and check.confirm_s is not None:
                    self._look(check, done, anyway=True)
        self._take_stock(self._named(names), done)
        self._let_go()
        self._tell(done)
        self.ended = self._plane.clock.now()
        return done

    def due_in(self, names: Collection[str] = ()) -> float:
        """Return how many seconds to wait until the next round of these checks; of all by default."""
        now = self._plane.clock.now()
        looks = [self._plane.schedule.looks(check.name, now) for check in self._named(names)]
        soonest = min(((one.due - now).total_seconds() for one in looks), default=TICK_S)
        # What is overdue is another process's look, which may take its time.
        return min(TICK_S, max(LEAST_S, soonest))

    def every_s(self, check: Check[ControlPlane]) -> float:
        """Return the seconds between two looks of a check, as it is configured."""
        settings = getattr(self._settings, check.name, None)
        return check.every_s if settings is None or settings.every_s is None else float(settings.every_s)

    def found(self) -> list[Finding]:
        """Return what each check found when it last looked, whichever process did."""
        memos = self._plane.ledger.recall_all(_FOUND)
        return [Finding.from_dict(one) for memo in memos for one in json.loads(memo.text)]

    def _named(self, names: Collection[str]) -> list[Check[ControlPlane]]:
        return [check for check in self.checks if not names or check.name in names]

    def _enabled(self, check: Check[ControlPlane]) -> bool:
        settings = getattr(self._settings, check.name, None)
        return settings is None or bool(settings.enabled)

    def _alerts_of(self, check: Check[ControlPlane]) -> list[Alert]:
        return [alert for alert in self._plane.book.alerts() if alert.finding.check == check.name]

    def _look(self, check: Check[ControlPlane], done: Round, *, anyway: bool) -> bool:
        """Look once, if it is due and nobody else does; return whether it was looked."""
        clock, schedule = self._plane.clock, self._plane.schedule
        if not schedule.begin(check.name, clock.now(), anyway=anyway):
            if anyway:
                done.elsewhere[check.name] = schedule.looks(check.name, clock.now()).until
            return False
        began, wait, problem = clock.monotonic(), 0.0, "it was interrupted"
        blind: dict[str, str] | None = None
        try:
            findings, problem = self._findings(check)
            unknown = {finding.subject: finding.words for finding in findings if finding.state is State.UNKNOWN}
            blind = None if ALL in unknown else unknown
            pending = any(alert.stage is Stage.PENDING for alert in self._plane.take(findings, check.policy))
            self._keep(check, findings)
            done.looked.append(check.name)
            done.findings += [*findings, *(self._over(check, findings) if not problem else [])]
            every = self.every_s(check)
            soon = every if check.confirm_s is None or not pending else min(check.confirm_s, every)
            wait = soon * self._chance.uniform(1 - _JITTER, 1 + _JITTER)
        finally:
            now, took_s = clock.now(), clock.monotonic() - began
            due = now + timedelta(seconds=wait)
            schedule.end(check.name, now, due=due, took_s=took_s, problem=problem, blind=blind)
        return True

    def _findings(self, check: Check[ControlPlane]) -> tuple[list[Finding], str]:
        """Return what a check finds, and why it knows nothing; empty when it knows something."""
        moment = self._plane.clock.now()
        try:
            findings = list(check.look(self._plane))
        except Exception as error:  # noqa: BLE001 - a check that fails is told, and the others go on
            words = error.message if isinstance(error, UndriftError) else f"{type(error).__name__}: {error}"
            return [_blind(check.name, moment, words, getattr(error, "detail", ""))], words
        knows = not findings or any(finding.state is not State.UNKNOWN for finding in findings)
        return findings, "" if knows else findings[0].words

    def _over(self, check: Check[ControlPlane], findings: Sequence[Finding]) -> list[Finding]:
        """Resolve the alerts that a look has no finding for: they concern nobody any more."""
        seen, moment = {finding.key for finding in findings}, self._plane.clock.now()
        # Where a whole could not be looked at, nothing is known of its parts.
        unknown = [finding.subject for finding in findings if finding.state is State.UNKNOWN]
        gone = [
            _not_concerned(alert.finding, moment)
            for alert in self._alerts_of(check)
            if alert.key not in seen and alert.stage is not Stage.RESOLVED and not alert.finding.concerns(unknown)
        ]
        for finding in gone:
            self._plane.book.take(finding, _AT_ONCE)
        return gone

    def _keep(self, check: Check[ControlPlane], findings: Iterable[Finding]) -> None:
        ledger, key = self._plane.ledger, _FOUND + check.name
        text = json.dumps([finding.as_dict() for finding in findings])
        memo = ledger.recall(key)
        # Whoever was faster has looked later.
        ledger.remember(key, text, version=memo.version if memo is not None else 0)

    def _take_stock(self, checks: Iterable[Check[ControlPlane]], done: Round) -> None:
        """Find the checks that have known nothing for too long, and of what in particular the others have not."""
        now = self._plane.clock.now()
        for check in checks:
            looks, every = self._plane.schedule.looks(check.name, now), self.every_s(check)
            stale: dict[str, Finding] = {}
            if now >= looks.stale_since(every):
                why = f": {looks.problem}" if looks.problem else ""
                words = f"nothing is known of {check.about} since {_since(looks.known, looks.began)}{why}"
                stale[check.name] = _stale(check.name, check, words, now)
            else:
                for one, (since, why) in looks.blind.items():
                    if now >= looks.stale_since(every, since):
                        words = f"nothing is known of {check.about} of {one} since {_since(since, since)}: {why}"
                        stale[f"{check.name}/{one}"] = _stale(f"{check.name}/{one}", check, words, now)
            again = [
                replace(alert.finding, state=State.GOOD, moment=now, words=f"{check.about} are looked at", hint="")
                for alert in self._plane.book.alerts()
                if alert.finding.check == STALE
                and alert.stage is not Stage.RESOLVED
                and alert.finding.concerns([check.name])
                and alert.finding.subject not in stale
            ]
            self._plane.take([*stale.values(), *again], _AT_ONCE)
            done.findings += stale.values()

    def _let_go(self) -> None:
        """End the alerts of what nobody looks at any more, as it is configured, and forget those long over."""
        plane, now = self._plane, self._plane.clock.now()
        checks, receivers = {check.name for check in self.checks}, {receiver.name for receiver in plane.receivers}
        for alert in plane.book.alerts():
            finding = alert.finding
            among = {STALE: checks, RECEIVER: receivers}.get(finding.check)
            is_looked_at = finding.check in checks if among is None else finding.concerns(among)
            # Another host may be configured otherwise, and look at it.
            if not is_looked_at and alert.stage is not Stage.RESOLVED and now - alert.looked > _ABANDONED:
                plane.book.take(_not_concerned(finding, now), _AT_ONCE)
        plane.book.forget_old(now)

    def _tell(self, done: Round) -> None:
        now = self._plane.clock.now()
        ticks = self._plane.clock.monotonic()
        alone = [name for name, until in self._left_alone.items() if ticks < until]
        told = self._plane.tell(not_now=alone)
        done.tellings, done.problems = told["tellings"], told["problems"]
        findings = [_deaf(name, now, why) for name, why in done.problems.items()]
        findings += [_hears(name, now) for name in told["told"]]
        for name in done.problems:
            self._left_alone[name] = ticks + PATIENCE_S
        changed = [alert.key for alert in self._plane.take(findings, _AT_ONCE)]
        if changed:
            more = self._plane.tell(changed, not_now=[*alone, *done.problems])
            done.tellings += more["tellings"]


def _stale(subject: str, check: Check[ControlPlane], words: str, moment: datetime) -> Finding:
    return Finding(
        check=STALE,
        subject=subject,
        state=State.BAD,
        severity=Severity.WARNING,
        moment=moment,
        words=words,
        hint=f"undrift watch --once {check.name}",
    )


def _blind(check: str, moment: datetime, words: str, detail: str) -> Finding:
    return Finding(
        check=check,
        subject=ALL,
        state=State.UNKNOWN,
        severity=Severity.WARNING,
        moment=moment,
        words=f"could not look: {words}",
        detail=detail,
        hint=f"undrift watch --once {check}",
    )


def _not_concerned(finding: Finding, moment: datetime) -> Finding:
    return Finding(
        check=finding.check,
        subject=finding.subject,
        state=State.GOOD,
        severity=finding.severity,
        moment=moment,
        words=f"{finding.subject} is not concerned any more",
    )


def _deaf(name: str, moment: datetime, why: str) -> Finding:
    return Finding(
        check=RECEIVER,
        subject=name,
        state=State.BAD,
        severity=Severity.WARNING,
        moment=moment,
        words=why,
        hint="undrift alert list",
    )


def _hears(name: str, moment: datetime) -> Finding:
    return Finding(
        check=RECEIVER,
        subject=name,
        state=State.GOOD,
        severity=Severity.WARNING,
        moment=moment,
        words=f"the {name} takes alerts",
    )


def _since(known: datetime | None, began: datetime) -> str:
    return (known or began).isoformat(timespec="minutes")
