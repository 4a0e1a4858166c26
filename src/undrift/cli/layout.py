"""How numbers, times and tables are written for people."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

#: Between two columns.
_GAP = "  "


def columns(rows: Iterable[Sequence[str]], *, indent: int = 0, right: frozenset[int] = frozenset()) -> str:
    """Lay rows out in aligned columns; the last one is as wide as it is.

    Args:
        rows: the cells.
        indent: spaces in front of every row.
        right: the columns that are aligned to the right.
    """
    cells = [list(row) for row in rows]
    widths = [
        max(width(row[column]) for row in cells if column < len(row))
        for column in range(max(map(len, cells), default=0))
    ]
    lines = []
    for row in cells:
        padded = []
        for column, cell in enumerate(row):
            space = " " * (widths[column] - width(cell))
            last = column == len(row) - 1
            padded.append(space + cell if column in right else cell if last else cell + space)
        lines.append(" " * indent + _GAP.join(padded).rstrip())
    return "\n".join(lines)


def width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def one_line(text: str, most: int) -> str:
    """Return the beginning of a text without line ends and control characters, cut to a number of columns."""
    plain = "".join(char if char.isprintable() else " " for char in " ".join(text.split()))
    if width(plain) <= most:
        return plain
    cut = plain[: max(0, most - 1)]
    while width(cut) > most - 1:
        cut = cut[:-1]
    return cut.rstrip() + "…"


def number(value: float) -> str:
    """Write a count with its thousands apart."""
    return f"{value:,.0f}"


def duration(seconds: float) -> str:
    """Write a length of time roughly, as people say it."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    if minutes < 120:
        return f"{minutes:.0f} min"
    hours = minutes / 60
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


def money(usd: float) -> str:
    """Write a price in dollars, small ones with the digits that count."""
    if 0 < usd < 0.0001:
        return "under $0.0001"
    return f"${usd:,.2f}" if usd >= 1 or usd == 0 else f"${usd:.4f}"


def size(count: int) -> str:
    """Write a number of bytes."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def steps(commands: Sequence[str]) -> str:
    """Write the commands that make sense next, each on a line of its own."""
    return columns([("Next:" if index == 0 else "", command) for index, command in enumerate(commands)])


def paragraphs(*parts: str) -> str:
    """Join what is not empty, with a line between."""
    return "\n\n".join(part for part in parts if part)
