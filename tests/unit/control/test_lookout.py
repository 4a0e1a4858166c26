"""The look-out: schedules, looks that fail, two processes on one ledger, deaf receivers, a machine that slept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.unit.control.looking import HOUR, Receiver, World
from undrift.control.lookout import LookOut, Round
from undrift.control.metrics import Metric, Sample, documented, exposition, text_of
from undrift.domain.alert import Policy, Stage
from undrift.domain.finding import State
from undrift.errors import ControlUnavailable, EmbedderUnavailable
from undrift.watch.schedule import LOOK_S

pytest.importorskip("sqlite_vec")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    for plane in world.planes:
        plane.close()


def rounds(world: World, lookout: LookOut, count: int, *, every_s: float = HOUR * 1.1) -> list[Round]:
    done = []
    for _ in range(count):
        done.append(lookout.round())
        world.clock.advance(every_s)
    return done


def test_a_check_is_looked_at_at_its_interval_and_never_at_the_same_moment_everywhere(world: World) -> None:
    lookout = world.lookout()
    lookout.round()
    dues = []
    for _ in range(8):
        due = world.planes[0].schedule.looks("trial", world.clock.now()).due
        dues.append((due - world.clock.now()).total_seconds())
        world.clock.advance(dues[-1] - 1)
        lookout.round()
        world.clock.advance(1)
        lookout.round()

    assert world.looks == 9
    assert all(0.9 * HOUR <= due <= 1.1 * HOUR for due in dues)
    assert len(set(dues)) == len(dues)


def test_after_a_long_sleep_it_looks_once_and_not_for_every_time_it_missed(world: World) -> None:
    lookout = world.lookout()
    lookout.round()
    world.clock.advance(7 * 24 * HOUR)

    late = [lookout.round() for _ in range(3)]

    assert [one.looked for one in late] == [["trial"], [], []]
    assert not [finding for one in late for finding in one.findings if finding.check == "stale"]


def test_of_two_processes_one_looks_and_nobody_is_told_twice(world: World) -> None:
    world.states["m"] = State.BAD
    both = [world.lookout(0), world.lookout(1)]

    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            list(pool.map(lambda lookout: lookout.round(), both))
            world.clock.advance(HOUR / 4)

    assert world.looks == 2
    assert world.receiver.taken == [("firing", "trial/m")]


def test_while_a_process_looks_another_one_does_not_and_takes_over_when_it_dies(world: World) -> None:
    first, second = world.planes[0].schedule, world.lookout(1)
    assert first.begin("trial", world.clock.now())

    assert second.round(anyway=True).looked == []
    world.clock.advance(LOOK_S + 1)
    assert second.round().looked == ["trial"]


def test_it_sleeps_while_another_process_looks_and_asks_only_for_what_it_is_to_look_at(world: World) -> None:
    lookout = world.lookout()
    lookout.round()
    world.clock.advance(HOUR * 1.1)
    world.planes[1].schedule.begin("trial", world.clock.now())

    assert lookout.round().looked == []
    assert lookout.due_in() == 1.0
    assert lookout.due_in(["another"]) == 15.0


def test_two_processes_that_both_look_tell_once(world: World) -> None:
    """As two cron jobs do, each of which looks at everything."""
    world.states["m"] = State.BAD
    for process in (0, 1):
        world.lookout(process).round(anyway=True)
        world.clock.advance(1)

    assert world.looks == 2
    assert world.receiver.taken == [("firing", "trial/m")]


def test_what_one_look_may_get_wrong_is_confirmed_soon_by_a_second(world: World) -> None:
    lookout = world.lookout(policy=Policy(looks_to_raise=2), confirm_s=60.0)
    lookout.round()
    world.states["m"] = State.BAD
    world.clock.advance(HOUR * 1.1)
    lookout.round()
    pending = world.stage()
    world.clock.advance(70)
    lookout.round()

    assert pending is Stage.PENDING
    assert world.receiver.taken == [("firing", "trial/m")]


def test_a_job_confirms_at_once(world: World) -> None:
    world.states["m"] = State.BAD
    world.lookout(policy=Policy(looks_to_raise=2), confirm_s=60.0).round(anyway=True)

    assert world.looks == 2
    assert world.stage() is Stage.FIRING


def test_a_check_that_raises_is_a_finding_and_not_the_end(world: World) -> None:
    world.states["m"] = State.BAD
    lookout = world.lookout()
    lookout.round()
    world.clock.advance(HOUR * 1.1)
    world.raising = EmbedderUnavailable("model m does not answer", "HTTP 500")

    (finding,) = lookout.round().findings

    assert (finding.state, finding.subject) == (State.UNKNOWN, "all")
    assert "model m does not answer" in finding.words
    assert world.stage() is Stage.FIRING, "not to know anything resolves nothing"


def test_a_defect_of_a_check_is_told_as_well(world: World) -> None:
    world.raising = ZeroDivisionError("nothing was there")

    assert "ZeroDivisionError: nothing was there" in world.lookout().round().findings[0].words


def test_what_is_not_known_for_three_intervals_is_an_alert_of_its_own_and_ends_when_it_is(world: World) -> None:
    lookout = world.lookout()
    lookout.round()
    world.states["m"] = State.UNKNOWN
    rounds(world, lookout, 4)
    before = world.receiver.taken
    world.states["m"] = State.GOOD
    rounds(world, lookout, 3)

    assert before[:1] == [("firing", "stale/trial")]
    assert world.receiver.taken == [("firing", "stale/trial"), ("resolved", "stale/trial")]


def test_one_of_several_that_is_not_known_for_three_intervals_is_an_alert_of_its_own(world: World) -> None:
    """The others, of which something is known, do not hide it; nor does a look that saw none of them end it."""
    world.states["n"] = State.UNKNOWN
    lookout = world.lookout()
    rounds(world, lookout, 3)
    early = list(world.receiver.taken)
    rounds(world, lookout, 2)
    world.raising = ControlUnavailable("the ledger was not there for a moment")
    rounds(world, lookout, 1)
    world.raising = None
    during = list(world.receiver.taken)
    words = next(one.finding.words for one in world.planes[0].book.alerts() if one.key == "stale/trial/n")
    world.states["n"] = State.GOOD
    rounds(world, lookout, 2)

    assert early == []
    assert during == [("firing", "stale/trial/n")]
    assert "changes of n" in words
    assert words.endswith("n is unknown")
    assert world.receiver.taken == [*during, ("resolved", "stale/trial/n")]


def test_what_is_not_found_any_more_does_not_concern_anybody_and_is_over_at_once(world: World) -> None:
    world.states = {"m": State.BAD, "n": State.BAD}
    lookout = world.lookout()
    lookout.round()
    world.clock.advance(HOUR * 1.1)
    del world.states["n"]
    lookout.round()

    assert (world.stage("trial/m"), world.stage("trial/n")) == (Stage.FIRING, Stage.RESOLVED)
    assert world.receiver.taken[-1] == ("resolved", "trial/n")


def test_a_receiver_that_is_down_misses_nothing_and_is_told_of_itself(world: World) -> None:
    other = Receiver("there")
    world.planes[0].__dict__["receivers"] = [world.receiver, other]
    world.states["m"] = State.BAD
    world.receiver.down = True
    lookout = world.lookout()
    first = lookout.round()
    asked = world.receiver.asked
    lookout.round()

    assert first.problems == {"here": "the here did not take an alert: HTTP 503"}
    assert other.taken == [("firing", "trial/m"), ("firing", "receiver/here")]
    assert world.receiver.asked == asked, "it is left alone for a while"
    world.receiver.down = False
    for _ in range(3):
        world.clock.advance(61)
        lookout.round()
    assert world.receiver.taken[0] == ("firing", "trial/m")
    assert "receiver/here" not in {key for _, key in world.receiver.taken}
    assert other.taken.count(("firing", "trial/m")) == 1


def test_a_receiver_that_takes_silence_for_the_end_is_told_again_and_again(world: World) -> None:
    world.receiver.again_s = 60.0
    world.states["m"] = State.BAD
    lookout = world.lookout()
    for _ in range(5):
        lookout.round()
        world.clock.advance(31)

    assert [event for event, _ in world.receiver.taken] == ["firing", "still", "still"]


def test_an_alert_is_told_again_after_a_day_and_not_in_a_maintenance_window(world: World, tmp_path: Path) -> None:
    window = {"keys": ["trial/*"], "hours": "00:00-23:59"}
    world.planes.append(world.plane(watch={"maintenance": [window]}))
    world.states["m"] = State.BAD
    world.lookout(2).round()
    muted = list(world.receiver.taken)
    rounds(world, world.lookout(), 25, every_s=HOUR)

    assert muted == []
    assert world.receiver.taken == [("firing", "trial/m"), ("still", "trial/m")]


def test_what_is_accepted_as_normal_is_over(world: World) -> None:
    world.states["m"] = State.BAD
    lookout = world.lookout()
    lookout.round()
    world.planes[1].book.settle("trial", "m", world.clock.now(), "the baseline was taken anew")
    world.states["m"] = State.GOOD
    world.clock.advance(HOUR * 1.1)
    lookout.round()

    assert world.receiver.taken == [("firing", "trial/m"), ("resolved", "trial/m")]


def test_a_look_that_was_interrupted_is_looked_at_again_at_once(world: World) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    world.during = interrupt
    lookout = world.lookout()
    with pytest.raises(KeyboardInterrupt):
        lookout.round()
    world.during = lambda: None

    assert world.lookout(1).round().looked == ["trial"]


def test_a_check_that_is_not_enabled_is_left_out(world: World) -> None:
    world.planes.append(world.plane(watch={"sunset": {"enabled": False}, "provider": {"every_s": 7.0}}))
    lookout = LookOut(world.planes[2])

    assert "sunset" not in [check.name for check in lookout.checks]
    assert [lookout.every_s(check) for check in lookout.checks if check.name == "provider"] == [7.0]


# Metrics


def parsed(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    parser = pytest.importorskip("prometheus_client.parser")
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in parser.text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_the_figures_are_read_by_prometheus_own_parser(world: World) -> None:
    world.states = {"m": State.BAD, "n": State.UNKNOWN}
    lookout = world.lookout()
    lookout.round()
    found = parsed(exposition(world.planes[0], lookout))

    assert found["undrift_alert_firing"] == [
        ({"check": "trial", "subject": "m", "severity": "error", "muted": "false"}, 1.0)
    ]
    assert found["undrift_look_last_success_timestamp_seconds"] == [({"check": "trial"}, world.clock.now().timestamp())]
    assert ({"check": "trial", "state": "unknown"}, 1.0) in found["undrift_findings"]
    assert found["undrift_tellings_owed"] == [({"receiver": "here"}, 0.0)]
    known = {metric.name: set(metric.labels) for metric in documented()}
    assert all(set(labels) == known[name] for name, samples in found.items() for labels, _ in samples)


@pytest.mark.parametrize("text", ['a"b', "a\\b", "a\nb", 'ä\\n"\n{},=', ""])
def test_a_label_of_any_characters_comes_back_as_it_was(text: str) -> None:
    metrics: Sequence[Metric] = [Metric(name="undrift_x", about='of \\ and "\n', labels=("subject",))]
    samples = [Sample(name="undrift_x", value=value, labels={"subject": text}) for value in (1.5, float("inf"), 1e20)]

    assert parsed(text_of(metrics, samples)) == {
        "undrift_x": [({"subject": text}, 1.5), ({"subject": text}, float("inf")), ({"subject": text}, 1e20)]
    }


def test_every_metric_is_named_as_prometheus_wants_it() -> None:
    units = ("_total", "_seconds", "_ratio", "_info")
    counts = {"undrift_alert_firing", "undrift_findings", "undrift_tellings_owed"}
    counts |= {"undrift_documents_dirty", "undrift_documents_quarantined"}
    names = [metric.name for metric in documented()]

    assert len(set(names)) == len(names)
    for metric in documented():
        assert metric.name.startswith("undrift_")
        assert metric.name.endswith("_total") is metric.is_counter
        assert metric.name.endswith(units) or metric.name in counts
