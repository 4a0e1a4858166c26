"""Days to remember as an iCalendar file (RFC 5545), which every calendar program takes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

#: A line has at most so many bytes; a longer one goes on after a space.
_LINE_BYTES = 75


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """A day to remember.

    Attributes:
        uid: its name, by which a calendar knows it again when it moves.
        day: the day.
        summary: one line.
        description: more of it.
        days_before: when to remind of it.
    """

    uid: str
    day: date
    summary: str
    description: str = ""
    days_before: tuple[int, ...] = ()


def calendar_of(days: Iterable[Remembered], *, made: datetime) -> str:
    """Return an iCalendar file, its lines ended by CR LF.

    Args:
        days: what is in it.
        made: when it was made, for calendars that look which version is newer.
    """
    stamp = made.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//undrift//sunsets//EN"]
    for one in days:
        lines += ["BEGIN:VEVENT", f"UID:{_escaped(one.uid)}", f"DTSTAMP:{stamp}"]
        lines += [f"DTSTART;VALUE=DATE:{one.day:%Y%m%d}", f"DTEND;VALUE=DATE:{one.day + timedelta(days=1):%Y%m%d}"]
        lines += [f"SUMMARY:{_escaped(one.summary)}", f"DESCRIPTION:{_escaped(one.description)}", "TRANSP:TRANSPARENT"]
        for before in one.days_before:
            lines += ["BEGIN:VALARM", "ACTION:DISPLAY", f"DESCRIPTION:{_escaped(one.summary)}"]
            lines += [f"TRIGGER:-P{before}D", "END:VALARM"]
        lines.append("END:VEVENT")
    lines.append("END:VCALENDAR")
    return "".join(f"{_folded(line)}\r\n" for line in lines)


def _escaped(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    return escaped.replace("\r\n", "\\n").replace("\n", "\\n")


def _folded(line: str) -> str:
    parts, room = [""], _LINE_BYTES
    for letter in line:
        size = len(letter.encode())
        if size > room:
            parts.append("")
            room = _LINE_BYTES - 1
        parts[-1] += letter
        room -= size
    return "\r\n ".join(parts)
