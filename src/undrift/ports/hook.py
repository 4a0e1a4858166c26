"""A user's own program that is called at a moment of a migration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class HookOutcome:
    """How a call of a hook ended, and what it said."""

    agreed: bool
    said: str


class Hook(Protocol):
    """A program or a function. Its name stands in the history."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    def call(self, context: Mapping[str, Any]) -> HookOutcome:
        """Call it, and wait until it ends or its time is up; it never raises."""
        ...
