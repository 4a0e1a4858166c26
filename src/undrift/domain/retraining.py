"""When a model is due to be trained again, read off what the look-out has found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from undrift.domain.finding import Finding, Severity, State

#: The findings that speak for a training: worse answers at once, moved data only when it lasts.
AT_ONCE = frozenset({"retrieval"})
LASTING = frozenset({"documents", "queries"})
#: What forbids a conclusion: a model that has changed by itself, or vectors of another one, look like moved data.
DOUBTS = frozenset({"probe", "foreign"})
#: All that is looked at.
SPEAKS = AT_ONCE | LASTING | DOUBTS
_URGENCY = (Severity.INFO, Severity.WARNING, Severity.ERROR, Severity.CRITICAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainPolicy:
    """What is enough.

    Attributes:
        lasting: so long moved data must have been found, look after look.
        rest: so long after a training nothing is due: what was trained has to be seen at work first.
        fresh: findings older than this tell nothing about now.
        at_least: the least severity of a finding that counts.
    """

    lasting: timedelta = timedelta(days=3)
    rest: timedelta = timedelta(days=14)
    fresh: timedelta = timedelta(days=2)
    at_least: Severity = Severity.WARNING


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainAdvice:
    """Whether a training is due.

    Attributes:
        due: whether it is.
        words: why, or why not, in one sentence.
        reasons: the findings that speak for it, a sentence each.
    """

    due: bool
    words: str
    reasons: tuple[str, ...] = field(default=())


def advise(
    findings: Sequence[Finding],
    *,
    subjects: Sequence[str],
    now: datetime,
    trained: datetime | None = None,
    policy: RetrainPolicy | None = None,
) -> RetrainAdvice:
    """Say whether the model of an alias is due to be trained again.

    Worse answers on the golden queries are enough by themselves. That documents or queries have moved is enough when
    every look has found so for a while: most of what moves moves back. Nothing is concluded while the model itself is
    in doubt, since a model that changed looks as if all data had moved.

    Args:
        findings: what was found, in any order; those that concern other subjects are left out.
        subjects: the alias, and what else is about its model, such as the model's name.
        now: the time, aware UTC.
        trained: when the serving model was trained last; None when nobody knows.
        policy: what is enough.
    """
    policy, subject = policy or RetrainPolicy(), subjects[0]
    seen = sorted((one for one in findings if one.concerns(subjects) and one.moment <= now), key=_by_moment)
    last = {one.key: one for one in seen if now - one.moment <= policy.fresh}
    doubtful = [one for _, one in sorted(last.items()) if one.check in DOUBTS and one.state is State.BAD]
    if doubtful:
        return RetrainAdvice(due=False, words=f"first the model of {subject}: {doubtful[0].words}")
    reasons = [
        one.words
        for key, one in sorted(last.items())
        if (one.check in AT_ONCE and _counts(one, policy))
        or (one.check in LASTING and _lasts([other for other in seen if other.key == key], now, policy))
    ]
    if not reasons:
        known = any(one.check in AT_ONCE | LASTING for one in last.values())
        words = f"nothing speaks for training the model of {subject} again"
        return RetrainAdvice(due=False, words=words if known else f"nobody has looked at {subject} lately")
    if trained is not None and now - trained < policy.rest:
        days = (now - trained).days
        words = f"the model of {subject} was trained {days} days ago; it has {policy.rest.days} days to show itself"
        return RetrainAdvice(due=False, words=words, reasons=tuple(reasons))
    return RetrainAdvice(due=True, words=f"the model of {subject} is due to be trained again", reasons=tuple(reasons))


def finding_of(advice: RetrainAdvice, *, subject: str, now: datetime) -> Finding:
    """Return the advice as a finding, for the look-out to tell."""
    return Finding(
        check="retrain",
        subject=subject,
        state=State.BAD if advice.due else State.GOOD,
        severity=Severity.WARNING,
        moment=now,
        words=advice.words,
        detail="\n".join(advice.reasons),
        hint=f"train on recent data, then undrift model add NAME --from FOLDER and undrift model promote NAME --alias "
        f"{subject}"
        if advice.due
        else "",
    )


def _counts(one: Finding, policy: RetrainPolicy) -> bool:
    return one.state is State.BAD and _URGENCY.index(one.severity) >= _URGENCY.index(policy.at_least)


def _by_moment(one: Finding) -> datetime:
    return one.moment


def _lasts(seen: Sequence[Finding], now: datetime, policy: RetrainPolicy) -> bool:
    """Whether every look that could see has found it for long enough; a look that could not says nothing."""
    since: datetime | None = None
    for one in seen:
        if one.state is not State.UNKNOWN:
            since = (since or one.moment) if _counts(one, policy) else None
    return since is not None and now - since >= policy.lasting
