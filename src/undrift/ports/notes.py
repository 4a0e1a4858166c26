"""The part of the durable memory in which operators and workers leave word for each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from undrift.domain.event import Entered
from undrift.domain.route import AliasName


class NotesLedger(Protocol):
    """Live settings, notes, and the history."""

    def tune(self, alias: AliasName, values: Mapping[str, str]) -> None:
        """Set live settings and notes of an alias; they are kept until its next migration."""
        ...

    def tuning(self, alias: AliasName) -> dict[str, str]:
        """Return the live settings and notes of an alias."""
        ...

    def enter(self, alias: AliasName, *, who: str, action: str, detail: str) -> None:
        """Add a line to the history."""
        ...

    def history(self, alias: AliasName, *, limit: int = 100) -> list[Entered]:
        """Return what happened to an alias, newest first."""
        ...
