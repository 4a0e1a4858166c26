"""Texts that were longer than their model takes and were carried all the same, as notes in the ledger count them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

#: Name of a worker's note; its client id follows.
_NOTE = "@overlong."


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlong:
    """How many texts were too long; those that were refused are in quarantine and not among them.

    Attributes:
        cut: texts that the model cut, where it tells.
        split: texts that were embedded in parts.
    """

    cut: int = 0
    split: int = 0

    def __add__(self, other: Overlong) -> Overlong:
        """Return both together."""
        return Overlong(cut=self.cut + other.cut, split=self.split + other.split)

    def as_dict(self) -> dict[str, int]:
        """Return the numbers in the documented JSON shape."""
        return asdict(self)


def overlong_note(notes: Mapping[str, str], client: str, more: Overlong) -> dict[str, str]:
    """Return a worker's note with so many more texts in it."""
    name = _NOTE + client
    return {name: json.dumps((_read(notes.get(name, "")) + more).as_dict())}


def overlong_in(notes: Mapping[str, str]) -> Overlong:
    """Add up what all workers have noted."""
    found = (_read(text) for name, text in notes.items() if name.startswith(_NOTE))
    return sum(found, Overlong())


def _read(text: str) -> Overlong:
    return Overlong(**json.loads(text)) if text else Overlong()
