"""Settings of the work: what they may be, and how an operator's stand above the configuration's."""

from __future__ import annotations

from datetime import time

import pytest

from undrift.domain.batch import BatchMode
from undrift.domain.tuning import KNOBS, Limits, read_hours, read_knob, shown, tuned
from undrift.errors import BadArgument

GOOD = {
    "chunk_size": ("64", 64),
    "nice_ratio": ("0.5", 0.5),
    "max_rows_per_s": ("100", 100.0),
    "max_lag_s": ("2", 2.0),
    "max_search_ms": ("12.5", 12.5),
    "max_error_rate": ("0.05", 0.05),
    "hours": ("22:00-6:00", read_hours("22:00-06:00")),
    "time_zone": ("Europe/Berlin", "Europe/Berlin"),
    "batch": ("auto", BatchMode.AUTO),
}


@pytest.mark.parametrize("key", KNOBS)
def test_a_setting_is_read_and_shown_alike(key: str) -> None:
    text, value = GOOD[key]

    found = read_knob(key, text)

    assert found == value
    assert read_knob(key, shown(tuned(Limits(), {key: text}))[key]) == value


@pytest.mark.parametrize(
    ("key", "text"),
    [
        *[("chunk_size", text) for text in ("0", "257", "-1", "1.5", "many", "none", "")],
        *[("nice_ratio", text) for text in ("-1", "nan", "inf", "none", "101")],
        *[("max_rows_per_s", text) for text in ("0", "-3", "nan", "inf", "fast")],
        *[("max_error_rate", text) for text in ("1.1", "-0.1", "5%")],
        *[("hours", text) for text in ("22:00", "24:00-06:00", "22:60-06:00", "08:00-08:00", "8:00-08:00", "night")],
    ],
)
def test_what_a_setting_cannot_be_is_named(key: str, text: str) -> None:
    with pytest.raises(BadArgument, match=f"{key} cannot be"):
        read_knob(key, text)


def test_a_setting_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(BadArgument) as refused:
        read_knob("speed", "1")

    assert "max_rows_per_s" in refused.value.detail


def test_an_operator_stands_above_the_configuration_and_notes_are_no_settings() -> None:
    limits = Limits(max_rows_per_s=5.0, nice_ratio=1.0)

    found = tuned(limits, {"max_rows_per_s": "none", "@waiting": "{}", "later_version": "7"})

    assert (found.max_rows_per_s, found.nice_ratio) == (None, 1.0)


@pytest.mark.parametrize(
    ("hours", "inside", "outside"),
    [
        ("22:00-06:00", ["22:00", "23:59", "00:00", "05:59"], ["06:00", "12:00", "21:59"]),
        ("09:00-17:30", ["09:00", "17:29"], ["17:30", "08:59", "00:00"]),
    ],
    ids=["over midnight", "by day"],
)
def test_hours_have_their_beginning_and_not_their_end(hours: str, inside: list[str], outside: list[str]) -> None:
    found = read_hours(hours)

    assert all(found.has(time.fromisoformat(moment)) for moment in inside)
    assert not any(found.has(time.fromisoformat(moment)) for moment in outside)
