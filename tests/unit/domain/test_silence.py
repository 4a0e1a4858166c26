"""Nobody is told while a silence or a maintenance window covers an alert."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from undrift.domain.silence import Silence, Window, muted
from undrift.domain.tuning import read_hours

NOON = datetime(2027, 1, 1, 12, tzinfo=UTC)  # a Friday


@pytest.mark.parametrize(
    ("key", "covered"),
    [("sunset/kb/a", True), ("sunset/*", True), ("*/kb/*", True), ("sunset/kb", False), ("probe/*", False)],
)
def test_a_silence_covers_a_key_or_a_pattern_until_it_ends(key: str, covered: bool) -> None:
    silence = Silence(key=key, until=NOON, reason="move", who="ada")

    assert silence.covers("sunset/kb/a", NOON - timedelta(seconds=1)) is covered
    assert not silence.covers("sunset/kb/a", NOON)
    assert Silence.from_dict(silence.as_dict()) == silence


@pytest.mark.parametrize(
    ("moment", "inside"),
    [
        ("2027-01-02T21:59", False),
        ("2027-01-02T22:00", True),
        ("2027-01-03T05:59", True),
        ("2027-01-03T06:00", False),
        ("2027-01-03T22:00", False),
        ("2027-01-02T05:00", False),
    ],
)
def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins(moment: str, inside: bool) -> None:
    window = Window(keys=("probe/*",), hours=read_hours("22:00-06:00"), days=("sat",))
    at = datetime.fromisoformat(moment).replace(tzinfo=UTC)

    assert window.covers("probe/m", at) is inside
    assert not window.covers("sunset/m", at)
    assert bool(muted("probe/m", at, [], [window])) is inside


def test_a_window_is_of_its_own_time_zone() -> None:
    window = Window(keys=("*",), hours=read_hours("13:00-14:00"), time_zone="Europe/Berlin")

    assert window.covers("any", NOON)
    assert not window.covers("any", NOON + timedelta(hours=1))


def test_a_silence_says_until_when_who_and_why() -> None:
    silence = Silence(key="*", until=NOON + timedelta(hours=1), reason="we move", who="ada")

    assert muted("any", NOON, [silence], []) == "silenced until 2027-01-01T13:00+00:00 by ada: we move"
    assert muted("any", NOON, [], []) == ""
