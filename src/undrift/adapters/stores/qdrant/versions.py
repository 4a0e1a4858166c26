"""What servers can do by their versions."""

from __future__ import annotations

from typing import TypeAlias

Version: TypeAlias = tuple[int, int]
#: Since then an upsert has a condition; undrift needs that.
CONDITIONS: Version = (1, 16)
#: Since then an upsert has a mode.
MODES: Version = (1, 17)
#: Since then vectors can be added to a collection and taken out of it, and an update of one has a condition.
SEVERAL: Version = (1, 18)
#: What the client's own folder can do as well.
IMITATED = "1.18.0"


def version_from(words: str) -> Version:
    """Read a version as a server says it: `1.19.0`, or `1.19.0-dev`."""
    numbers = words.partition("-")[0].split(".")
    return int(numbers[0]), int(numbers[1])
