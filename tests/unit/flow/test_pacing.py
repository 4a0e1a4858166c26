from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from undrift.adapters.ledgers.sqlite import SqliteLedger
from undrift.adapters.sqlite import Database
from undrift.domain.pace import SeenLimits
from undrift.domain.pacing import KEPT_S, Ask, PaceLimits, Slice
from undrift.errors import ControlUnavailable, WorkStopped
from undrift.flow.oversight import UNSEEN, Oversight
from undrift.flow.pacing import Pacer
from undrift.ports.ledger import Ledger
from undrift.testing.clock import VirtualClock

WORK = Oversight(is_work=True)
LIMITS = PaceLimits(tokens_per_min=60_000, reserved_for_queries=0.0)


class Counting:
    """A ledger that counts how often it is asked, and can be away."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.asked: list[Ask] = []
        self.refused = 0
        self.is_away = False

    def take_pace(self, account: str, ask: Ask) -> Slice:
        self._look()
        self.asked.append(ask)
        return self.ledger.take_pace(account, ask)

    def pace_refused(self, account: str, seen: SeenLimits, limits: PaceLimits) -> None:
        self._look()
        self.refused += 1
        self.ledger.pace_refused(account, seen, limits)

    def _look(self) -> None:
        if self.is_away:
            raise ControlUnavailable("the ledger is away")


class World:
    """A clock, a ledger, and processes that share one account."""

    def __init__(self, folder: Path) -> None:
        self.clock = VirtualClock()
        self.folder = folder
        self.ledger = Counting(SqliteLedger(Database(folder / "ledger.db"), self.clock, boot_id="b"))  # type: ignore[arg-type]

    def pacer(self, owner: str = "a", limits: PaceLimits = LIMITS) -> Pacer:
        return Pacer(
            self.ledger,  # type: ignore[arg-type] - the part of the port that a pacer uses
            "openai/small/k",
            owner=owner,
            clock=self.clock,
            limits=limits,
            model="small",
        )

    def send(self, pacer: Pacer, tokens: int, *, billed: int | None = None, oversight: Oversight = WORK) -> float:
        """Send a request, and return how long it waited."""
        began = self.clock.monotonic()
        pacer.admit(tokens, oversight)
        pacer.ended()
        pacer.billed(tokens, tokens if billed is None else billed, is_work=oversight.is_work)
        return self.clock.monotonic() - began


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.ledger.ledger.close_ledger()


def test_the_ledger_is_asked_once_a_slice(world: World) -> None:
    """A thousand requests at ten thousand a minute are not a thousand questions."""
    pacer = world.pacer(limits=PaceLimits(requests_per_min=10_000, reserved_for_queries=0.0))

    began = world.clock.monotonic()
    for _ in range(1000):
        world.send(pacer, 10)

    elapsed = world.clock.monotonic() - began
    assert 1000 / 10_000 * 60 - 3 <= elapsed <= 1000 / 10_000 * 60 + 1
    assert len(world.ledger.asked) <= 25


def test_what_was_billed_counts_and_not_what_was_estimated(world: World) -> None:
    """A provider that counts half as much again as the estimate is still not asked for more than it allows."""
    pacer = world.pacer()
    began = world.clock.monotonic()

    for _ in range(200):
        world.send(pacer, 200, billed=300)

    elapsed = world.clock.monotonic() - began
    assert 200 * 300 / 1000 - 4 <= elapsed <= 200 * 300 / 1000 + 2


def test_a_debt_is_waited_off(world: World) -> None:
    """One answer cost far more than anybody thought."""
    pacer = world.pacer()
    world.send(pacer, 100, billed=20_000)

    for _ in range(30):
        world.send(pacer, 100)

    assert world.clock.monotonic() - 1000 > 23_000 / 1000 - 4


def test_a_refusal_holds_this_process_and_the_others(world: World) -> None:
    """Each of them, also those that have some pace left."""
    mine, theirs = world.pacer("a"), world.pacer("b")
    world.send(mine, 10)
    world.send(theirs, 10)

    mine.sees(SeenLimits(retry_after_s=9.0), refused=True)

    assert 9.0 <= world.send(mine, 10) <= 9.0 + KEPT_S
    assert world.ledger.refused == 1
    fresh = world.pacer("c")
    mine.sees(SeenLimits(retry_after_s=4.0), refused=True)
    assert 4.0 <= world.send(fresh, 10) <= 4.0 + KEPT_S


def test_a_limit_that_an_answer_names_reaches_everybody_with_the_next_slice(world: World) -> None:
    mine, theirs = (world.pacer(owner, PaceLimits(reserved_for_queries=0.0)) for owner in "ab")
    for _ in range(50):
        assert world.send(mine, 1000) == 0
    mine.sees(SeenLimits(tokens_per_min=60_000), refused=False)
    world.clock.advance(30)
    world.send(mine, 1000)

    waited = sum(world.send(theirs, 1000) for _ in range(30))

    assert waited > 20
    assert theirs.most_tokens is not None


def test_whoever_waits_can_be_stopped_and_says_for_what(world: World) -> None:
    """An operator's word reaches it within a second."""
    pacer, said, looks = world.pacer(), [], []

    def admit() -> None:
        looks.append(world.clock.monotonic())
        if len(looks) == 3:
            raise WorkStopped("paused")

    world.send(pacer, 60_000)
    with pytest.raises(WorkStopped):
        pacer.admit(60_000, Oversight(admit=admit, waits=said.append, is_work=True))

    assert looks[-1] - looks[0] == pytest.approx(2.0)
    assert "the rate limit of model small" in said[0]


def test_pace_from_long_ago_is_no_burst(world: World) -> None:
    """A slice that was not used in its time is void."""
    pacer = world.pacer()
    for _ in range(8):
        world.send(pacer, 100)
    world.clock.advance(3600)
    world.ledger.asked.clear()

    world.send(pacer, 100)

    assert len(world.ledger.asked) == 1


def test_work_stops_without_the_ledger_and_an_application_does_not(world: World) -> None:
    pacer = world.pacer()
    world.ledger.is_away = True

    with pytest.raises(ControlUnavailable):
        pacer.admit(10, WORK)
    assert world.send(pacer, 10, oversight=UNSEEN) == 0
    pacer.sees(SeenLimits(retry_after_s=1.0), refused=True)


def test_no_more_requests_are_under_way_than_the_account_takes(world: World) -> None:
    """Over all threads; those that wait go on as others end."""
    pacer = world.pacer(limits=PaceLimits(concurrent_requests=2))
    most, now, lock = [0], [0], threading.Lock()

    @contextmanager
    def counted() -> Iterator[None]:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        try:
            yield
        finally:
            with lock:
                now[0] -= 1

    def call(_: int) -> None:
        with pacer.passing(10, WORK), counted():
            threading.Event().wait(0.002)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(16)))

    assert most[0] == 2
