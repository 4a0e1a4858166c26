from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from undrift.domain.pace import SeenLimits
from undrift.domain.pacing import (
    FIRST_WAIT_S,
    GROW_EVERY_S,
    KEPT_S,
    LONGEST_WAIT_S,
    Ask,
    Pace,
    PaceLimits,
    refused,
    take,
)
from undrift.testing.provider import AccountLimits, Refuse

ALL = PaceLimits(requests_per_min=300, tokens_per_min=60_000, reserved_for_queries=0.0)
UNKNOWN = PaceLimits(reserved_for_queries=0.0)


def ask(owner: str = "a", limits: PaceLimits = ALL, *, tokens: int = 100, **more: object) -> Ask:
    return Ask(**{"owner": owner, "limits": limits, "tokens": tokens, "each": tokens, "wanted": 1000, **more})  # type: ignore[arg-type]


@dataclass
class World:
    """Workers that send as fast as they are let, a provider, and a clock that jumps from event to event."""

    server: AccountLimits = field(init=False)
    now: float = 1000.0
    pace: Pace = field(default_factory=Pace)
    answered: int = 0
    answered_tokens: int = 0
    too_soon: int = 0
    by_owner: dict[str, int] = field(default_factory=dict)
    due: list[tuple[float, int, str, list[int]]] = field(default_factory=list)
    count: int = 0

    def run(self, workers: dict[str, Callable[[], int]], limits: PaceLimits, seconds: float, **more: object) -> None:
        """Let workers send requests of the sizes that they draw for so long."""
        end = self.now + seconds
        known = {owner for _, _, owner, _ in self.due}
        for owner in workers:
            if owner not in known:
                self._at(self.now, owner, [])
        while self.due and self.due[0][0] < end:
            at, _, owner, queue = heapq.heappop(self.due)
            if owner not in workers:
                continue
            self.now = max(self.now, at)
            if not queue:
                size = workers[owner]()
                self.pace, slice = take(self.pace, self.now, ask(owner, limits, tokens=size, **more))
                queue = [size] * min(slice.requests, slice.tokens // size)
                self._at(self.now + slice.wait_s, owner, queue)
                continue
            tokens = queue.pop()
            refusal = self.server.begin(tokens)
            if isinstance(refusal, Refuse):
                self.too_soon += 1
                when = refusal.headers.get("retry-after-ms")
                seen = SeenLimits(
                    tokens_per_min=_number(refusal.headers.get("x-ratelimit-limit-tokens")),
                    requests_per_min=_number(refusal.headers.get("x-ratelimit-limit-requests")),
                    retry_after_s=int(when) / 1000 if when else None,
                )
                self.pace = refused(self.pace, self.now, seen, limits)
                queue.append(tokens)
                self._at(self.pace.not_before, owner, queue)
                continue
            self.server.end()
            self.answered += 1
            self.answered_tokens += tokens
            self.by_owner[owner] = self.by_owner.get(owner, 0) + tokens
            self._at(self.now + 0.001, owner, queue)
        self.now = end

    def _at(self, when: float, owner: str, queue: list[int]) -> None:
        self.count += 1
        heapq.heappush(self.due, (when, self.count, owner, queue))


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def world(**limits: object) -> World:
    made = World()
    made.server = AccountLimits(clock=lambda: made.now, **limits)  # type: ignore[arg-type]
    return made


def sizes(seed: int, low: int = 50, high: int = 400) -> Callable[[], int]:
    chance = random.Random(seed)
    return lambda: chance.randint(low, high)


@pytest.mark.parametrize("count", [1, 3, 8])
def test_workers_together_use_the_whole_limit_and_are_not_refused(count: int) -> None:
    """Two minutes against a provider that saves up no more than ten seconds."""
    it = world(requests_per_min=6000, tokens_per_min=60_000, bucket_s=10)

    it.run({f"w{n}": sizes(n) for n in range(count)}, ALL_TOKENS, 120)

    # The bucket was full at the beginning, so a little more than the limit may pass.
    assert 0.97 <= it.answered_tokens / (60_000 * 2) <= 1.0 + KEPT_S / 120 + 0.01
    assert it.too_soon == 0


ALL_TOKENS = PaceLimits(tokens_per_min=60_000, reserved_for_queries=0.0)


def test_a_limit_of_requests_binds_as_well() -> None:
    it = world(requests_per_min=300, tokens_per_min=10**9, bucket_s=10)

    it.run({"a": sizes(1), "b": sizes(2)}, ALL, 120)

    assert 0.97 <= it.answered / 600 <= 1.02
    assert it.too_soon == 0


def test_workers_are_served_alike() -> None:
    it = world(tokens_per_min=60_000, bucket_s=10)

    it.run({f"w{n}": sizes(n) for n in range(4)}, ALL_TOKENS, 60)

    shares = sorted(it.by_owner.values())
    assert shares[0] / shares[-1] > 0.9


def test_a_slow_account_is_not_asked_for_more_than_it_has() -> None:
    """Three requests a minute: one every twenty seconds, whoever sends it."""
    it = world(requests_per_min=3, tokens_per_min=10_000)

    it.run(
        {"a": sizes(1), "b": sizes(2)},
        PaceLimits(requests_per_min=3, tokens_per_min=10_000, reserved_for_queries=0),
        600,
    )

    assert it.answered in (30, 31)
    assert it.too_soon == 0


def test_a_worker_that_dies_costs_no_more_than_its_slice() -> None:
    """Its place on the time line passes by itself."""
    it = world(tokens_per_min=60_000, bucket_s=10)
    it.run({"a": sizes(1), "b": sizes(2)}, ALL_TOKENS, 30)
    it.pace, _ = take(it.pace, it.now, ask("b", ALL_TOKENS))
    before = it.answered_tokens

    it.run({"a": sizes(1)}, ALL_TOKENS, 60)

    assert it.answered_tokens - before >= 60_000 * 0.96


def test_the_share_of_searches_is_left_to_them() -> None:
    """Migrations use the rest, and searches are not refused."""
    it = world(tokens_per_min=60_000, bucket_s=10)
    limits = PaceLimits(tokens_per_min=60_000, reserved_for_queries=0.2)
    rest = iter(range(10**6))

    for _ in range(60):
        it.run({"a": sizes(next(rest))}, limits, 1)
        assert it.server.begin(190) is None
        it.server.end()

    assert 0.95 <= it.answered_tokens / (60_000 * 0.8) <= 1.05
    assert it.too_soon == 0


def test_what_an_application_writes_comes_before_work_and_is_taken_from_it() -> None:
    pace = Pace()
    for _ in range(20):
        pace, work = take(pace, 1000.0, ask("w", ALL_TOKENS))
    pace, live = take(pace, 1000.0, ask("app", ALL_TOKENS, is_work=False, wanted=1))
    pace, after = take(pace, 1000.0, ask("w", ALL_TOKENS))

    assert work.wait_s > 5
    assert live.wait_s == 0
    assert after.wait_s > work.wait_s + live.tokens / 1000


@pytest.mark.parametrize("tells", [True, False])
def test_a_limit_that_nobody_configured_is_learned(tells: bool) -> None:
    """From the headers of a refusal at once; otherwise by going slower until it fits, and trying a little more."""
    it = world(tokens_per_min=60_000, bucket_s=30, tells_limits=tells, tells_when=tells)
    workers = {"a": sizes(1), "b": sizes(2)}
    it.run(workers, UNKNOWN, 240, wanted=5)
    it.answered = it.answered_tokens = it.too_soon = 0

    it.run(workers, UNKNOWN, 120, wanted=5)

    assert it.answered_tokens / (60_000 * 2) >= (0.97 if tells else 0.75)
    assert it.too_soon / (it.too_soon + it.answered) <= (0.01 if tells else 0.05)


def test_unknown_stays_unknown() -> None:
    """Without a limit nobody is held back, whatever is asked for."""
    pace = Pace()
    for _ in range(100):
        pace, slice = take(pace, 1000.0, ask("a", UNKNOWN, tokens=10**6))
        assert (slice.wait_s, slice.is_limited, slice.requests) == (0.0, False, 1000)
    assert pace.rates(UNKNOWN) == (None, None)


def test_somebody_else_on_the_same_key_is_made_room_for() -> None:
    """They use half of it without asking: the pace falls until hardly a request is refused, and comes back."""
    it = world(tokens_per_min=60_000, bucket_s=5)
    others = AccountLimits(tokens_per_min=30_000, bucket_s=1, clock=lambda: it.now)

    def both(seconds: int) -> None:
        for _ in range(seconds):
            it.run({"a": sizes(1)}, ALL_TOKENS, 1)
            if others.begin(400) is None:
                others.end()
                it.server.begin(400)
                it.server.end()

    both(60)
    fallen = it.pace.factor
    # Two hours later they are gone, and the share that comes back is tried little by little.
    it.pace, _ = take(it.pace, it.now + 7200, ask("a", ALL_TOKENS))

    assert fallen < 0.85
    assert it.pace.factor == 1.0


def test_refusals_of_one_moment_are_one() -> None:
    """Twenty requests were under way at the same pace."""
    pace = Pace(tokens_per_min=60_000)
    one = refused(pace, 1000.0, SeenLimits(), ALL)
    many = pace
    for _ in range(20):
        many = refused(many, 1000.0, SeenLimits(), ALL)

    assert many == one
    assert 0.97 < one.factor < 1.0


def test_how_long_to_wait_is_believed_within_reason() -> None:
    assert refused(Pace(), 5.0, SeenLimits(), ALL).not_before == 5.0 + FIRST_WAIT_S
    assert refused(Pace(), 5.0, SeenLimits(retry_after_s=60), ALL).not_before == 65.0
    assert refused(Pace(), 5.0, SeenLimits(retry_after_s=1e9), ALL).not_before == 5.0 + LONGEST_WAIT_S
    waiting = refused(Pace(), 5.0, SeenLimits(retry_after_s=60), ALL)
    assert refused(waiting, 6.0, SeenLimits(retry_after_s=1), ALL).not_before == 65.0


def test_what_is_configured_is_never_exceeded_though_the_provider_allows_more() -> None:
    """Somebody may want to leave the rest to others."""
    pace, _ = take(Pace(), 0.0, ask("a", ALL, seen=SeenLimits(requests_per_min=10**6, tokens_per_min=10**9)))

    assert pace.rates(ALL) == (300, 60_000)
    pace, _ = take(pace, 0.0, ask("a", ALL, seen=SeenLimits(requests_per_min=30)))
    assert pace.rates(ALL) == (30, 60_000)


def test_what_accounts_of_a_tier_have_holds_until_an_answer_says_otherwise() -> None:
    """In both directions, because it is only assumed."""
    limits = PaceLimits(assumed_requests_per_min=300, assumed_tokens_per_min=60_000)
    pace, slice = take(Pace(), 0.0, ask("a", limits))

    assert slice.is_limited
    assert pace.rates(limits) == (300, 60_000)
    pace, _ = take(pace, 0.0, ask("a", limits, seen=SeenLimits(requests_per_min=500, tokens_per_min=30_000)))
    assert pace.rates(limits) == (500, 30_000)
    assert limits.is_silent


def test_a_limit_of_zero_is_no_pace() -> None:
    """An account that may send nothing is refused, not divided by."""
    pace, slice = take(Pace(), 0.0, ask("a", UNKNOWN, seen=SeenLimits(requests_per_min=0, tokens_per_min=0)))

    assert pace.rates(UNKNOWN) == (None, None)
    assert slice.requests > 0


def test_a_request_is_never_larger_than_the_account_could_ever_take() -> None:
    """Eighty-eight documents in one request of an account of 10,000 tokens a minute would never pass."""
    _, slice = take(Pace(), 0.0, ask("a", PaceLimits(tokens_per_min=10_000)))

    assert slice.most_tokens is not None
    assert slice.most_tokens <= 10_000 / 2


def test_it_comes_back_from_json_and_what_a_later_version_added_is_left_out() -> None:
    pace, _ = take(Pace(), 1000.0, ask())
    pace = refused(pace, 1001.0, SeenLimits(retry_after_s=3), ALL)

    assert Pace.from_dict({**pace.as_dict(), "of_a_later_version": 1}) == pace
    assert Pace.from_dict({}) == Pace()
    assert pace.moment >= 1004.0


def test_a_clock_that_was_set_back_stops_nobody_for_long() -> None:
    pace, _ = take(Pace(), 10.0**9, ask())

    pace, slice = take(pace, 1000.0, ask())

    assert slice.wait_s < GROW_EVERY_S
