"""Alerts come at the levels, on every change, once each, and are resolved."""

from __future__ import annotations

from datetime import date, timedelta

from undrift.domain.alert import Alert, Event, due, resolved
from undrift.domain.catalogue import Attribute, Catalogue, Confidence, Fact, ModelKey, Precision
from undrift.domain.sunset import LEVELS, Sunset, sunset_of

KEY = ModelKey(channel="acme", model="e1")
END = date(2027, 6, 30)


def sunset(day: date = END, precision: Precision = Precision.EXACT) -> Sunset:
    fact = Fact(
        key=KEY,
        attribute=Attribute.SHUTDOWN,
        value=day.isoformat(),
        precision=precision,
        source="acme page",
        seen=date(2026, 1, 1),
        confidence=Confidence.HIGH,
    )
    found = sunset_of(Catalogue([fact]), KEY)
    assert found is not None
    return found


def tell(told: list[Alert], today: date, end: Sunset | None = None) -> Alert | None:
    """Look as a cron job does, and remember what was told."""
    alert = due(end or sunset(), "kb", told, today, begin=today)
    told += [alert] if alert is not None else []
    return alert


def test_over_a_year_of_days_each_level_is_told_once() -> None:
    told: list[Alert] = []
    for before in range(365, -10, -1):
        tell(told, END - timedelta(days=before))

    assert [(alert.event, alert.within) for alert in told] == [
        (Event.ANNOUNCED, None),
        *((Event.NEARER, days) for days, _ in LEVELS),
        (Event.NEARER, 0),
    ]
    assert [alert.level for alert in told][-4:] == ["page", "page", "page", "gone"]
    assert len({alert.id for alert in told}) == len(told)


def test_a_job_that_did_not_run_for_months_tells_only_where_it_stands_now() -> None:
    told: list[Alert] = []
    tell(told, END - timedelta(days=365))

    alert = tell(told, END - timedelta(days=20))

    assert alert is not None
    assert (alert.event, alert.within, alert.level) == (Event.NEARER, 30, "warn")
    assert tell(told, END - timedelta(days=19)) is None


def test_a_day_that_moves_is_told_whichever_way_and_the_levels_begin_anew() -> None:
    told: list[Alert] = []
    today = END - timedelta(days=10)
    tell(told, today)

    later = tell(told, today, sunset(date(2028, 6, 30)))
    earlier = tell(told, today, sunset(date(2027, 6, 25)))

    assert later is not None
    assert earlier is not None
    assert (later.event, later.within) == (Event.CHANGED, None)
    assert "later than 2027-06-30" in later.words
    assert "earlier than 2028-06-30" in earlier.words
    assert earlier.within == 7
    assert tell(told, today, sunset(date(2027, 6, 25))) is None


def test_an_end_that_is_not_before_a_day_is_never_gone_by_itself() -> None:
    alert = tell([], END + timedelta(days=3), sunset(precision=Precision.NOT_BEFORE))

    assert alert is not None
    assert (alert.level, alert.within) == ("page", 1)


def test_what_concerns_nobody_any_more_is_resolved_once_and_may_begin_anew() -> None:
    told: list[Alert] = []
    tell(told, END - timedelta(days=40))

    (over,) = resolved(told, concerned=[])

    assert (over.event, over.model, over.level) == (Event.RESOLVED, "acme/e1", "none")
    assert resolved([*told, over], concerned=[]) == []
    assert resolved(told, concerned=["acme/e1"]) == []
    again = due(sunset(), "kb", [*told, over], END - timedelta(days=39), begin=END)
    assert again is not None
    assert again.event is Event.ANNOUNCED


def test_an_alert_is_kept_and_read_back() -> None:
    alert = tell([], END - timedelta(days=40))

    assert alert is not None
    assert Alert.from_dict({**alert.as_dict(), "from": "a newer version"}) == alert
