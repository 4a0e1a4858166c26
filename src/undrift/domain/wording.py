"""How counts stand in sentences for people."""

from __future__ import annotations


def plural(count: int, one: str, many: str = "") -> str:
    """Write a count with its noun: `1 document`, `2,000 documents`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def are(count: int) -> str:
    """Return the verb that goes with a count: `is` or `are`."""
    return "is" if count == 1 else "are"
