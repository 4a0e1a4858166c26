"""An alert is raised, confirmed, told once to each receiver, told again when it has to be, and ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from undrift.domain.alert import Alert, Event, Policy, Stage, Terms, accepted, after, owed, with_told
from undrift.domain.finding import Finding, Severity, State
from undrift.domain.telling import Telling

NOON = datetime(2027, 1, 1, 12, tzinfo=UTC)
TWICE = Policy(looks_to_raise=2, looks_to_resolve=2)
DAILY = Terms(renotify_s=86_400.0)


def found(state: State, hours: float = 0.0, **values: Any) -> Finding:
    given = {"severity": Severity.WARNING, "words": "it moved", **values}
    return Finding(check="probe", subject="m", state=state, moment=NOON + timedelta(hours=hours), **given)


def course(*states: State, policy: Policy = TWICE) -> list[Stage | None]:
    """The stage after each look, an hour apart."""
    alert, stages = None, []
    for hours, state in enumerate(states):
        alert = after(alert, found(state, hours), policy)
        stages.append(alert.stage if alert is not None else None)
    return stages


def firing(**values: Any) -> Alert:
    alert = after(None, found(State.BAD, **values), Policy())
    assert alert is not None
    return alert


B, G, U = State.BAD, State.GOOD, State.UNKNOWN
PENDING, FIRING, RESOLVED = Stage.PENDING, Stage.FIRING, Stage.RESOLVED


@pytest.mark.parametrize(
    ("states", "stages"),
    [
        pytest.param((B, B), (PENDING, FIRING), id="a second look confirms"),
        pytest.param((B, G, B), (PENDING, None, PENDING), id="a good look between begins anew"),
        pytest.param((B, U, B), (PENDING, PENDING, FIRING), id="knowing nothing is no look"),
        pytest.param((B, B, G, G), (PENDING, FIRING, FIRING, RESOLVED), id="two good looks end it"),
        pytest.param((B, B, G, B, G), (PENDING, FIRING, FIRING, FIRING, FIRING), id="in a row"),
        pytest.param((B, B, G, U, G), (PENDING, FIRING, FIRING, FIRING, RESOLVED), id="knowing nothing ends nothing"),
        pytest.param((B, B, G, G, B, B), (PENDING, FIRING, FIRING, RESOLVED, PENDING, FIRING), id="it comes again"),
        pytest.param((U, G), (None, None), id="what is good is not remembered"),
    ],
)
def test_looks_make_stages(states: tuple[State, ...], stages: tuple[Stage | None, ...]) -> None:
    assert tuple(course(*states)) == stages


def test_a_check_that_needs_no_second_look_fires_at_once() -> None:
    assert course(B, G, policy=Policy(looks_to_resolve=1)) == [FIRING, RESOLVED]


def test_a_look_that_is_older_than_the_last_changes_nothing() -> None:
    alert = firing(hours=2)

    assert after(alert, found(G, 1), Policy(looks_to_resolve=1)) == alert


def tell(alert: Alert, hours: float = 0.0, terms: Terms = DAILY) -> tuple[Alert, Event | None]:
    now = NOON + timedelta(hours=hours)
    event = owed(alert, "log", now, terms)
    return (with_told(alert, "log", event, now) if event else alert), event


def test_each_receiver_is_told_once_and_again_after_the_interval() -> None:
    alert, first = tell(firing())

    assert first is Event.FIRING
    assert tell(alert, 23.9)[1] is None
    assert tell(alert, 24)[1] is Event.STILL
    assert tell(alert, 1e6, Terms(renotify_s=None))[1] is None
    assert owed(alert, "webhook", NOON, DAILY) is Event.FIRING


def test_it_is_told_when_it_grows_more_severe_and_not_when_it_grows_less() -> None:
    alert, _ = tell(firing())
    worse = after(alert, found(B, 1, severity=Severity.CRITICAL), TWICE)
    assert worse is not None
    worse, event = tell(worse, 1)
    less = after(worse, found(B, 2, severity=Severity.INFO), TWICE)
    assert less is not None

    assert event is Event.WORSE
    assert tell(less, 2)[1] is None


def test_another_occasion_is_told_whichever_way_it_moved_and_is_not_acknowledged() -> None:
    alert, _ = tell(firing(occasion="2027-06-30"))
    acknowledged = replace(alert, acknowledged="2027-06-30", by="ada")
    moved = after(acknowledged, found(B, 1, occasion="2027-12-31"), TWICE)
    assert moved is not None

    assert acknowledged.is_acknowledged
    assert not moved.is_acknowledged
    assert tell(moved, 1)[1] is Event.CHANGED


def test_what_somebody_has_taken_on_is_told_no_more_until_it_is_worse() -> None:
    alert, _ = tell(replace(firing(), acknowledged="", by="ada"))
    alert, event = tell(alert, 0.1)
    worse = after(alert, found(B, 50, severity=Severity.ERROR), TWICE)
    assert worse is not None

    assert event is Event.ACKNOWLEDGED
    assert tell(alert, 48)[1] is None
    assert tell(alert, 48, Terms(renotify_s=60, keeps_alive=True))[1] is Event.STILL
    assert owed(alert, "webhook", NOON, Terms(hears_acknowledged=False)) is Event.FIRING
    assert tell(worse, 50)[1] is Event.WORSE


def test_what_is_muted_stays_owed() -> None:
    alert = firing()
    over = after(tell(alert)[0], found(G, 1), Policy(looks_to_resolve=1))
    assert over is not None

    assert owed(alert, "log", NOON, Terms(muted=True)) is None
    assert owed(alert, "log", NOON, Terms()) is Event.FIRING
    assert owed(over, "log", NOON, Terms(muted=True)) is None
    assert owed(over, "log", NOON, Terms()) is Event.RESOLVED


def test_who_takes_silence_for_the_end_goes_on_hearing_of_what_is_muted() -> None:
    terms = Terms(renotify_s=60, keeps_alive=True, muted=True)
    known = with_told(firing(), "log", Event.FIRING, NOON)

    assert owed(known, "log", NOON + timedelta(seconds=60), terms) is Event.STILL
    assert owed(firing(), "log", NOON, terms) is None
    assert owed(accepted(known, moment=NOON, why="x"), "log", NOON + timedelta(hours=1), terms) is None


def test_the_end_is_told_once_and_only_to_those_who_knew_of_the_beginning() -> None:
    over = after(tell(firing())[0], found(G, 1), Policy(looks_to_resolve=1))
    assert over is not None
    told, event = tell(over, 1)

    assert event is Event.RESOLVED
    assert tell(told, 99)[1] is None
    assert owed(over, "webhook", NOON, DAILY) is None
    again = after(told, found(B, 2), Policy())
    assert again is not None
    assert tell(again, 2)[1] is Event.FIRING


def test_one_that_came_again_before_its_end_was_told_ends_for_those_who_knew() -> None:
    alert = tell(firing())[0]
    for hours, state in enumerate((G, G, B, G), start=1):
        after_this = after(alert, found(state, hours), TWICE)
        assert after_this is not None
        alert = after_this

    assert alert.stage is RESOLVED
    assert tell(alert, 5)[1] is Event.RESOLVED


def test_what_is_accepted_as_normal_is_over_and_says_why() -> None:
    alert = accepted(tell(firing())[0], moment=NOON, why="a new baseline")
    told, event = tell(alert)

    assert event is Event.RESOLVED
    assert Telling(alert=told, event=event, moment=NOON).words == "over: a new baseline"
    assert accepted(told, moment=NOON, why="twice") == told


def test_an_alert_is_kept_and_read_back() -> None:
    alert = replace(tell(firing(occasion="x", figures={"a_ratio": 0.5}))[0], acknowledged="x", by="ada", over="why")

    assert Alert.from_dict(alert.as_dict()) == alert


def test_a_telling_has_one_id_however_often_it_comes_and_another_for_what_is_new() -> None:
    alert = firing()
    one = Telling(alert=alert, event=Event.FIRING, moment=NOON)
    again = Telling(alert=replace(alert, bad=5), event=Event.FIRING, moment=NOON + timedelta(hours=1))
    others = [
        Telling(alert=alert, event=Event.RESOLVED, moment=NOON),
        Telling(alert=alert, event=Event.STILL, moment=NOON),
        Telling(alert=alert, event=Event.STILL, moment=NOON + timedelta(days=1)),
        Telling(alert=firing(severity=Severity.ERROR), event=Event.FIRING, moment=NOON),
    ]

    assert one.id == again.id
    assert len({one.id, *(other.id for other in others)}) == 5


def test_the_webhooks_shape_is_alertmanagers_and_keeps_its_fingerprint() -> None:
    alert = firing(detail="two lines", hint="undrift model check m")
    begun = Telling(alert=alert, event=Event.FIRING, moment=NOON, runbook="book#probe").as_webhook()
    ended = accepted(replace(alert, finding=found(B, severity=Severity.ERROR)), moment=NOON, why="fine")
    over = Telling(alert=ended, event=Event.RESOLVED, moment=NOON).as_webhook()
    (one,) = begun["alerts"]

    assert (begun["version"], begun["status"], over["status"]) == ("4", "firing", "resolved")
    assert one["labels"] == {"alertname": "UndriftProbe", "check": "probe", "subject": "m", "severity": "warning"}
    assert one["annotations"] == {
        "summary": "it moved",
        "description": "two lines",
        "command": "undrift model check m",
        "runbook_url": "book#probe",
    }
    assert (one["startsAt"], one["endsAt"]) == (NOON.isoformat(), "0001-01-01T00:00:00Z")
    assert over["alerts"][0]["fingerprint"] == one["fingerprint"]
    assert over["groupKey"] == begun["groupKey"]


def test_who_has_taken_on_a_warning_has_not_taken_on_an_error() -> None:
    alert, _ = tell(replace(firing(), acknowledged="", by="ada"))
    worse = after(alert, found(B, 50, severity=Severity.ERROR), TWICE)
    assert worse is not None
    told, event = tell(worse, 50)

    assert (event, worse.is_acknowledged) == (Event.WORSE, False)
    assert tell(told, 51)[1] is None
    assert tell(told, 80)[1] is Event.STILL
