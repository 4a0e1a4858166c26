"""How fast the workers of all hosts may go together with one account: what is granted, and what is learned.

The time line of an account is cut into slices: each takes as long as its requests and tokens take at the account's
limit, and begins where the last one ended. So what is granted never exceeds the limit, whoever asks, and a slice whose
owner died passes by itself. Everything here is a pure function of the state, which a ledger keeps, and of its time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from undrift.domain.pace import SeenLimits

#: What all slices that are out at a time are worth together, about, in seconds of the limit.
SLICE_S = 1.0
#: Pace that was left unused is kept for so long: whoever asks a moment late loses nothing. In seconds.
KEPT_S = 2.0
#: A slice is void so long after it may be used first: pace from long ago would be a burst. In seconds.
VALID_S = 5.0
#: Whoever has not asked for so long does not count when shares are cut. In seconds.
FORGOTTEN_S = 10.0
#: Whoever has not asked for so long has no request under way any more. In seconds.
SLOT_S = 30.0
#: Wait after a refusal that names no time; and the longest that is believed. In seconds.
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 3600.0
#: Refusals within this time are one: requests under way were sent at the same pace. In seconds.
ONE_REFUSAL_S = 2.0
#: After so long without a refusal a little more is tried. In seconds.
GROW_EVERY_S = 10.0
#: A pace that was guessed from a refusal: cut to this share by a refusal, and grown by this factor.
GUESS_CUT, GUESS_GROWTH = 0.8, 1.03
#: A limit that is known: what a refusal takes off at first (doubled by each that follows soon), at most, and what comes
#: back. Somebody else may use the same account, or it counts otherwise than it says.
FIRST_CUT, MOST_CUT, GROWTH, LEAST_FACTOR = 0.02, 0.3, 0.01, 0.05
#: A request with more than this share of a minute's tokens would have to wait for an account that nobody else uses.
_LARGEST_REQUEST = 0.25
_MINUTE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceLimits:
    """What a configuration says of an account; None where it says nothing.

    Attributes:
        requests_per_min: most requests in a minute.
        tokens_per_min: most tokens in a minute.
        concurrent_requests: most requests under way at a time, of all processes together.
        reserved_for_queries: share of the pace that migrations leave to searches, 0 to below 1.
        assumed_requests_per_min: what accounts of this tier have, as long as no answer says otherwise.
        assumed_tokens_per_min: the same for tokens.
    """

    requests_per_min: float | None = None
    tokens_per_min: float | None = None
    concurrent_requests: int | None = None
    reserved_for_queries: float = 0.1
    assumed_requests_per_min: float | None = None
    assumed_tokens_per_min: float | None = None

    @property
    def is_silent(self) -> bool:
        """Whether nobody asked for a limit; what is only assumed is none."""
        limits = (self.requests_per_min, self.tokens_per_min, self.concurrent_requests)
        return all(limit is None for limit in limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a process asks for.

    Attributes:
        owner: which process.
        limits: what its configuration says.
        tokens: tokens of its next request; more than that when it has sent more than it was granted.
        each: tokens of a usual request of it.
        wanted: requests that it could send within `SLICE_S`.
        under_way: requests of it that are not answered.
        is_work: whether it migrates; a write of an application comes before that.
        seen: what it has read in answers since it asked last.
    """

    owner: str
    limits: PaceLimits
    tokens: int
    each: int = 1
    wanted: int = 1
    under_way: int = 0
    is_work: bool = True
    seen: SeenLimits = field(default_factory=SeenLimits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What a process is granted.

    Attributes:
        requests: requests that it may send; 0 when others have every slot, and it is to ask again.
        tokens: tokens that they may have together.
        wait_s: seconds until then.
        slots: requests that it may have under way; None for any number.
        most_tokens: most tokens of one request; None for any number.
        is_limited: whether a limit is known at all.
    """

    requests: int
    tokens: int
    wait_s: float = 0.0
    slots: int | None = None
    most_tokens: int | None = None
    is_limited: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What is known of an account, and what of its time is given away. All times are the ledger's.

    Attributes:
        requests_per_min: limit that was read in an answer, or guessed.
        tokens_per_min: the same for tokens.
        is_guessed: whether they are guesses from refusals.
        factor: share of the known limit that can be had.
        refused_at: when a request was refused for the pace last.
        refusals: how many refusals came soon after each other.
        grown_at: when more was tried last.
        not_before: nobody sends before.
        until: by what was counted, until when work is given away.
        live_until: the same for applications.
        owners: who asked last when, for how many slots.
        minute: the minute that is counted now.
        used: requests and tokens granted in it, and in the one before.
        configured: what the last to ask had configured, for those who look.
    """

    requests_per_min: float | None = None
    tokens_per_min: float | None = None
    is_guessed: bool = False
    factor: float = 1.0
    refused_at: float = float("-inf")
    refusals: int = 0
    grown_at: float = float("-inf")
    not_before: float = 0.0
    until: Mapping[str, float] = field(default_factory=dict)
    live_until: Mapping[str, float] = field(default_factory=dict)
    owners: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    minute: int = 0
    used: tuple[int, int, int, int] = (0, 0, 0, 0)
    configured: Mapping[str, float | None] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return its JSON form; infinite times are left out."""
        values = asdict(self)
        return {key: value for key, value in values.items() if value != float("-inf")}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Pace:
        """Read it back; what a later version added is left out."""
        known = {key: value for key, value in values.items() if key in {one.name for one in fields(cls)}}
        known["owners"] = {owner: (when, slots) for owner, (when, slots) in known.get("owners", {}).items()}
        known["used"] = tuple(known.get("used", (0, 0, 0, 0)))
        return cls(**known)

    @property
    def moment(self) -> float:
        """The latest time in it that has to come."""
        return max(self.not_before, *self.until.values(), *self.live_until.values(), 0.0)

    def rates(self, limits: PaceLimits) -> tuple[float | None, float | None]:
        """Return requests and tokens a minute that can be had: the stricter of what is configured and what is known."""
        known = (
            limits.assumed_requests_per_min if self.requests_per_min is None else self.requests_per_min,
            limits.assumed_tokens_per_min if self.tokens_per_min is None else self.tokens_per_min,
        )
        pairs = zip((limits.requests_per_min, limits.tokens_per_min), known, strict=True)
        found = (min((one for one in pair if one is not None), default=None) for pair in pairs)
        requests, tokens = (None if one is None else one * self.factor for one in found)
        return requests, tokens


def take(pace: Pace, now: float, ask: Ask) -> tuple[Pace, Slice]:
    """Grant a slice: as much as is asked for, and no more than an equal share of `SLICE_S`."""
    pace = _grown(_learned(pace, ask.seen), now)
    owners = {owner: seen for owner, seen in pace.owners.items() if now - seen[0] < SLOT_S and owner != ask.owner}
    active = 1 + sum(now - when < FORGOTTEN_S for when, _ in owners.values())
    slots = _slots(ask, active, sum(count for _, count in owners.values()))
    owners[ask.owner] = (now, slots or 0)
    configured = {key: value for key, value in asdict(ask.limits).items() if value is not None}
    pace = replace(pace, owners=owners, configured=configured)
    rates = pace.rates(ask.limits)
    share = 1.0 - ask.limits.reserved_for_queries if ask.is_work else 1.0
    most = None if rates[1] is None else max(1, int(rates[1] * share * _LARGEST_REQUEST))
    nothing = Slice(
        requests=0,
        tokens=0,
        wait_s=SLICE_S / 2,
        slots=slots,
        most_tokens=most,
        is_limited=any(rate is not None for rate in rates),
    )
    if slots == 0:
        return pace, nothing
    count = max(1, ask.wanted)
    for rate, cost in zip(rates, (1, max(1, ask.each)), strict=True):
        if rate is not None:
            count = min(count, int(rate * share / _MINUTE * SLICE_S / active / cost))
    count = max(1, count)
    tokens = max(ask.tokens, count * ask.each)
    pace, start = _booked(pace, now, rates, (count, tokens), share=share, is_work=ask.is_work)
    pace = _counted(pace, now, count, tokens)
    return pace, replace(nothing, requests=count, tokens=tokens, wait_s=max(0.0, start - now))


def refused(pace: Pace, now: float, seen: SeenLimits, limits: PaceLimits) -> Pace:
    """Take note that a request was refused for the pace: nobody sends before the time it names, and all go slower."""
    wait_s = FIRST_WAIT_S if seen.retry_after_s is None else min(seen.retry_after_s, LONGEST_WAIT_S)
    not_before = max(pace.not_before, now + wait_s)
    # The account has nothing left: what was left unused here is not there, and something has to be saved up again.
    saved = dict.fromkeys(("requests", "tokens"), not_before + KEPT_S)
    until, live = ({**saved, **_later(lines, not_before + KEPT_S)} for lines in (pace.until, pace.live_until))
    pace = replace(_learned(pace, seen), not_before=not_before, until=until, live_until=live)
    if now - pace.refused_at < ONE_REFUSAL_S:
        return pace
    soon = now - pace.refused_at < 3 * GROW_EVERY_S
    pace = replace(pace, refused_at=now, grown_at=now, refusals=pace.refusals + 1 if soon else 1)
    if pace.rates(limits) == (None, None):
        requests, tokens = _observed(pace, now)
        pace = replace(pace, requests_per_min=max(1.0, requests), tokens_per_min=max(1.0, tokens), is_guessed=True)
    if pace.is_guessed:
        return _scaled(pace, GUESS_CUT)
    cut = min(FIRST_CUT * 2.0 ** (pace.refusals - 1), MOST_CUT)
    return replace(pace, factor=max(LEAST_FACTOR, pace.factor * (1.0 - cut)))


def _later(lines: Mapping[str, float], than: float) -> dict[str, float]:
    return {axis: end for axis, end in lines.items() if end > than}


def _slots(ask: Ask, active: int, taken: int) -> int | None:
    """Return how many requests a process may have under way; those that are so already count, whatever its share."""
    limit = ask.limits.concurrent_requests
    if limit is None:
        return None
    return max(ask.under_way, 0, min(max(1, limit // active), limit - taken))


def _booked(
    pace: Pace,
    now: float,
    rates: tuple[float | None, float | None],
    amounts: tuple[int, int],
    *,
    share: float,
    is_work: bool,
) -> tuple[Pace, float]:
    """Put amounts at the end of the time line; return from when on they may be sent."""
    until, live = dict(pace.until), dict(pace.live_until)
    mine = until if is_work else live
    start = max(now, pace.not_before)
    for axis, rate, amount in zip(("requests", "tokens"), rates, amounts, strict=True):
        if rate is None:
            continue
        per_s = rate / _MINUTE
        begins = max(mine.get(axis, 0.0), now - KEPT_S)
        if begins > now + LONGEST_WAIT_S:
            # Nobody asks for so much: the clock was set back.
            begins = now
        start = max(start, begins)
        mine[axis] = begins + amount / (per_s * share)
        if not is_work:
            # What an application takes is taken from the migrations.
            until[axis] = max(until.get(axis, 0.0), now - KEPT_S) + amount / per_s
    return replace(pace, until=until, live_until=live), start


def _counted(pace: Pace, now: float, requests: int, tokens: int) -> Pace:
    minute = int(now // _MINUTE)
    had = pace.used[:2] if minute == pace.minute else (0, 0)
    before = pace.used[2:] if minute == pace.minute else pace.used[:2] if minute == pace.minute + 1 else (0, 0)
    return replace(pace, minute=minute, used=(had[0] + requests, had[1] + tokens, before[0], before[1]))


def _observed(pace: Pace, now: float) -> tuple[float, float]:
    """Return requests and tokens of the last minute, about."""
    requests, tokens, requests_before, tokens_before = _counted(pace, now, 0, 0).used
    rest = 1.0 - now % _MINUTE / _MINUTE
    return requests + requests_before * rest, tokens + tokens_before * rest


def _learned(pace: Pace, seen: SeenLimits) -> Pace:
    """Believe the limits that an answer names; a limit of nothing is no pace but an account that may not send."""
    requests, tokens = (found or None for found in (seen.requests_per_min, seen.tokens_per_min))
    if requests is None and tokens is None:
        return pace
    if pace.is_guessed:
        pace = replace(pace, requests_per_min=None, tokens_per_min=None, is_guessed=False)
    return replace(
        pace,
        requests_per_min=pace.requests_per_min if requests is None else float(requests),
        tokens_per_min=pace.tokens_per_min if tokens is None else float(tokens),
    )


def _grown(pace: Pace, now: float) -> Pace:
    """Try a little more for every while without a refusal."""
    since = max(pace.refused_at, pace.grown_at)
    times = int((now - since) // GROW_EVERY_S) if since > float("-inf") else 0
    if times <= 0:
        return pace
    pace = replace(pace, grown_at=since + times * GROW_EVERY_S)
    if pace.is_guessed:
        return _scaled(pace, GUESS_GROWTH ** min(times, 100))
    return replace(pace, factor=min(1.0, pace.factor + GROWTH * times))


def _scaled(pace: Pace, factor: float) -> Pace:
    found = (pace.requests_per_min, pace.tokens_per_min)
    requests, tokens = (None if one is None else max(1.0, one * factor) for one in found)
    return replace(pace, requests_per_min=requests, tokens_per_min=tokens)
