"""Which documents a back-fill carries first, and the notes in the ledger that name them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from undrift.errors import BadArgument

#: The word for documents that searches return most.
SEARCHED = "searched"
#: What stands before the key of the metadata by which the newest documents are known.
_RECENT = "recent:"
#: Documents that come first, of each kind.
FIRST = 1_000
#: Names of the notes begin with this; behind it stands what they are about.
_NOTE = "@first."


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What comes first in a back-fill.

    Attributes:
        first: `searched`, or `recent:KEY` with a key of the metadata; the most important one first.
        documents: how many of each.
    """

    first: tuple[str, ...] = ()
    documents: int = FIRST

    @property
    def counts_searches(self) -> bool:
        """Whether processes have to remember what their searches return."""
        return SEARCHED in self.first

    @property
    def keys(self) -> list[str]:
        """The keys of the metadata whose highest values make a document one of the first."""
        return [word.removeprefix(_RECENT) for word in self.first if word.startswith(_RECENT)]

    def as_dict(self) -> dict[str, Any] | None:
        """Return the JSON form; None where the order is that of the ids."""
        return {"first": list(self.first), "documents": self.documents} if self.first else None


def read_first(word: str) -> str:
    """Return a word that says what comes first.

    Raises:
        BadArgument: it is none.
    """
    if word != SEARCHED and not re.fullmatch(f"{_RECENT}.+", word):
        raise BadArgument(f"{word!r} is no order of documents", f"there are: {SEARCHED}, {_RECENT}KEY")
    return word


def searched_note(client: str, counts: Mapping[str, int]) -> dict[str, str]:
    """Return the note by which a process tells what its searches returned."""
    return {f"{_NOTE}{SEARCHED}.{client}": json.dumps(dict(counts))}


def recent_note(key: str, ids: Sequence[str]) -> dict[str, str]:
    """Return the note that names the newest documents by a key of the metadata, the newest first."""
    return {f"{_NOTE}{_RECENT}{key}": json.dumps({id: len(ids) - place for place, id in enumerate(ids)})}


def has_recent(notes: Mapping[str, str], key: str) -> bool:
    """Whether the newest documents by a key were looked for already."""
    return f"{_NOTE}{_RECENT}{key}" in notes


def named_first(notes: Mapping[str, str]) -> dict[str, str]:
    """Return those of the notes in a ledger that still name documents."""
    return {name: text for name, text in notes.items() if name.startswith(_NOTE) and text}


def in_order(notes: Iterable[tuple[str, str]], order: Order) -> list[str]:
    """Return the ids that notes name, each once, what matters most first.

    Args:
        notes: names and texts.
        order: what matters most; a note about something else comes last.
    """
    weights: dict[str, Counter[str]] = {}
    for name, text in notes:
        about = name.removeprefix(_NOTE)
        about = SEARCHED if about.startswith(f"{SEARCHED}.") else about
        weights.setdefault(about, Counter()).update(json.loads(text))
    rank = {word: place for place, word in enumerate(order.first)}
    found: dict[str, None] = {}
    for about in sorted(weights, key=lambda word: (rank.get(word, len(rank)), word)):
        best = sorted(weights[about].items(), key=lambda item: (-item[1], item[0]))
        found |= dict.fromkeys(id for id, _ in best[: order.documents])
    return list(found)
