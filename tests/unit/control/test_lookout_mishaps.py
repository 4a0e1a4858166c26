"""What happens to a look-out: wrong clocks, wrong settings, hosts of other settings, processes that died."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.control.looking import HOUR, Receiver, World
from undrift.adapters.processes import LinuxProcesses
from undrift.config import parse
from undrift.control import ControlPlane
from undrift.control.ends import look_at_what_was_said
from undrift.domain.alert import Policy, Stage
from undrift.domain.finding import State
from undrift.domain.notice import ModelNotice, NoticeKind
from undrift.errors import BadArgument, BadConfig, UnknownAlert
from undrift.watch.schedule import LOOK_S, Schedule

pytest.importorskip("sqlite_vec")
DAY = 24 * HOUR
AT_ONCE = Policy(looks_to_resolve=1)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    for plane in world.planes:
        plane.close()


def test_a_clock_that_was_set_back_by_a_year_stops_no_look_and_no_alert(world: World) -> None:
    """A machine that starts with a wrong clock is right a minute later."""
    lookout = world.lookout(policy=AT_ONCE)
    world.receiver.again_s = 75.0
    world.states["m"] = State.BAD
    world.clock.advance(365 * DAY)
    lookout.round()
    world.clock.advance(-365 * DAY)

    assert lookout.round().looked == ["trial"]
    assert world.receiver.taken == [("firing", "trial/m"), ("still", "trial/m")]
    world.states["m"] = State.GOOD
    world.clock.advance(HOUR * 1.1)
    lookout.round()
    assert world.stage() is Stage.RESOLVED


def test_what_was_known_in_a_time_that_has_not_come_is_stale_as_soon_as_anything_else(world: World) -> None:
    lookout = world.lookout()
    world.clock.advance(365 * DAY)
    lookout.round()
    world.clock.advance(-365 * DAY)
    world.raising = RuntimeError("gone")
    for _ in range(4):
        lookout.round()
        world.clock.advance(HOUR * 1.1)
    lookout.round()

    assert world.stage("stale/trial") is Stage.FIRING


def test_a_clock_that_is_a_little_late_looks_at_nothing_twice(world: World) -> None:
    world.lookout(0).round()
    world.clock.advance(-60)

    assert world.lookout(1).round().looked == []


def test_parts_of_what_could_not_be_looked_at_are_not_over(world: World) -> None:
    world.states = {"kb/de": State.BAD, "other": State.GOOD}
    lookout = world.lookout(policy=AT_ONCE)
    lookout.round()
    world.states = {"kb": State.UNKNOWN, "other": State.GOOD}
    world.clock.advance(HOUR * 1.1)
    lookout.round()

    assert world.stage("trial/kb/de") is Stage.FIRING
    assert world.receiver.taken == [("firing", "trial/kb/de")]


def test_alerts_of_a_check_that_nobody_looks_at_any_more_are_over_after_three_days(world: World) -> None:
    world.states["m"] = State.BAD
    world.lookout().round()
    without = world.planes[1].look_out()
    world.clock.advance(2 * DAY)
    without.round()
    assert world.stage() is Stage.FIRING
    world.clock.advance(1.1 * DAY)
    without.round()

    assert world.stage() is Stage.RESOLVED
    assert world.receiver.taken[-1] == ("resolved", "trial/m")


def test_a_receiver_that_was_taken_out_of_the_configuration_is_no_alert_for_ever(world: World) -> None:
    gone = Receiver("gone")
    gone.down = True
    world.states["m"] = State.BAD
    world.planes[0].__dict__["receivers"] = [gone, world.receiver]
    world.lookout(0).round()
    assert world.stage("receiver/gone") is Stage.FIRING
    world.clock.advance(3.1 * DAY)
    world.lookout(1).round()

    assert world.stage("receiver/gone") is Stage.RESOLVED


def test_alerts_that_are_over_for_a_quarter_are_forgotten_and_those_that_fire_are_not(world: World) -> None:
    world.states = {"m": State.BAD, "n": State.BAD}
    lookout = world.lookout(policy=AT_ONCE)
    lookout.round()
    del world.states["n"]
    for _ in range(2):
        world.clock.advance(89 * DAY)
        lookout.round()

    assert world.stage("trial/n") is Stage.RESOLVED
    world.clock.advance(2 * DAY)
    lookout.round()
    assert world.stage("trial/n") is None
    assert world.stage() is Stage.FIRING


class Gone(LinuxProcesses):
    """A process whose machine knows that it has ended."""

    def me(self) -> str:
        name, pid, _ = super().me().rsplit(":", 2)
        return f"{name}:{pid}:0"


def test_the_look_of_a_process_that_died_on_this_machine_is_taken_over_at_once(world: World) -> None:
    died = Schedule(world.planes[0].ledger, "died", Gone())
    assert died.begin("trial", world.clock.now())

    assert world.lookout(1).round().looked == ["trial"]


def test_a_job_says_what_it_left_to_a_process_that_may_be_dead(world: World) -> None:
    now = world.clock.now()
    world.planes[0].schedule.begin("trial", now)

    done = world.lookout(1).round(anyway=True)

    assert done.looked == []
    assert [(until - now).total_seconds() for until in done.elsewhere.values() if until] == [LOOK_S]


@pytest.mark.parametrize(
    "notices",
    [
        {"webhook": "https://host/path"},
        {"webhook": "https://host/path", "secret_env": "UNDRIFT_TEST_NOTHING"},
        {"webhook": "https://host/path", "secret_file": "nowhere"},
        {"pagerduty_key_file": "nowhere"},
        {"apprise_file": "nowhere"},
    ],
    ids=["no-secret", "no-variable", "no-secret-file", "no-key-file", "no-addresses"],
)
def test_a_receiver_that_cannot_be_told_is_refused_before_there_is_an_alert(
    tmp_path: Path, notices: dict[str, str]
) -> None:
    config = parse({"ledger": "sqlite:///undrift.db", "notices": notices}, tmp_path / "undrift.toml")
    with ControlPlane(config, role="watch", heartbeat=False) as plane, pytest.raises(BadConfig):
        plane.look_out()


@pytest.mark.parametrize("value", ["inf", "1e300"])
@pytest.mark.parametrize(
    "place", [("watch", "probe", "every_s"), ("watch", "probe", "renotify_s"), ("notices", "timeout_s")]
)
def test_a_time_without_end_is_no_setting(place: tuple[str, str, str] | tuple[str, str], value: str) -> None:
    settings: dict[str, object] = {place[-1]: float(value)}
    for name in reversed(place[:-1]):
        settings = {name: settings}

    with pytest.raises(BadConfig, match=place[-1]):
        parse(settings, Path("undrift.toml"))


def test_a_warning_that_counts_or_dates_itself_is_one_alert(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    plane = world.planes[0]
    words = ["81% used, request 0af31c9d22", "82% used, request 77b1c9d2aa", "another region is nearer"]
    said = [ModelNotice(channel="openai", model="m", kind=NoticeKind.WARNING, words=one) for one in words]
    monkeypatch.setattr(ControlPlane, "said", lambda _: said)
    monkeypatch.setattr(ControlPlane, "models_of", lambda *_: {("openai", "m")})
    monkeypatch.setattr(plane.ledger, "aliases", lambda: ["kb"])

    assert [finding.words.rpartition(": ")[2] for finding in look_at_what_was_said(plane)] == words[1:]


def test_golden_sets_of_an_alias_that_there_is_not_are_said(world: World) -> None:
    plane = world.plane(watch={"retrieval": {"sets": {"kbb": ["support"]}}})
    with plane:
        found = plane.look_out().round(["retrieval"], anyway=True).findings

    assert [(one.subject, one.state) for one in found] == [("kbb", State.UNKNOWN)]
    assert "golden sets of kbb" in found[0].words


def test_what_does_not_fire_is_not_taken_on(world: World) -> None:
    world.states["m"] = State.BAD
    lookout = world.lookout(policy=AT_ONCE)
    lookout.round()
    world.planes[0].book.settle("trial", "m", world.clock.now(), "it is meant so")

    with pytest.raises(BadArgument, match="trial/m is resolved"):
        world.planes[0].acknowledge_alert("trial/m", who="ada")
    with pytest.raises(UnknownAlert):
        world.planes[0].acknowledge_alert("trial/none", who="ada")


@pytest.mark.parametrize(("key", "seconds"), [(" ", HOUR), ("trial/*", 1e12)], ids=["nothing", "for-ever"])
def test_a_silence_is_of_something_and_ends(world: World, key: str, seconds: float) -> None:
    with pytest.raises(BadArgument):
        world.planes[0].silence_alerts(key, seconds=seconds, reason="why")
    assert world.planes[0].silences() == []
