"""Calendar files."""

from __future__ import annotations

from datetime import UTC, date, datetime

from undrift.domain.calendar import Remembered, calendar_of

MADE = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_a_day_is_an_event_of_a_whole_day_with_its_reminders() -> None:
    day = Remembered(uid="end/a", day=date(2027, 1, 31), summary="a ends", description="10 vectors", days_before=(7, 1))

    lines = calendar_of([day], made=MADE).split("\r\n")

    assert lines[:4] == ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//undrift//sunsets//EN", "BEGIN:VEVENT"]
    assert lines[-2:] == ["END:VCALENDAR", ""]
    assert {"UID:end/a", "DTSTAMP:20261122T120000Z", "DTSTART;VALUE=DATE:20270131", "DTEND;VALUE=DATE:20270201"} <= {
        *lines
    }
    assert [one for one in lines if one.startswith("TRIGGER")] == ["TRIGGER:-P7D", "TRIGGER:-P1D"]


def test_what_has_a_meaning_in_the_format_is_escaped_and_long_lines_go_on() -> None:
    text = calendar_of([Remembered(uid="u", day=date(2027, 1, 1), summary="a;b,c\\d\ne" + "ü" * 90)], made=MADE)

    assert "SUMMARY:a\\;b\\,c\\\\d\\ne" in text
    assert all(len(line.encode()) <= 75 for line in text.split("\r\n"))
    assert "ü" * 90 in text.replace("\r\n ", "")
