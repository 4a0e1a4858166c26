"""What an adapter can say about itself and its surroundings without changing anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: what it is, in a few words.
        ok: whether it is as it should be.
        detail: what was found.
        hint: the command or the change that mends it; may be empty.
    """

    check: str
    ok: bool
    detail: str
    hint: str = ""


@runtime_checkable
class SupportsInspection(Protocol):
    """A back-end that can look at its own server."""

    def inspect(self) -> list[Finding]:
        """Look at the server and return every finding; nothing is changed.

        Raises:
            UndriftError: it cannot be looked at at all.
        """
        ...
