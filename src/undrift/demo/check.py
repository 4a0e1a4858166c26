"""The independent check: what is in both fields against what the histories allow, every vector made again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from undrift.demo.expected import Expectation, State, state_of
from undrift.domain.record import Record, Vectors, content_hash
from undrift.domain.route import VectorField
from undrift.ports.store import VectorStore

#: Two vectors of one text in one space are at least this near; rounding alone stays far above it.
MIN_COSINE = 0.9999
_PAGE = 500

#: Makes vectors of texts anew, past every cache; float32, shape (n, d).
Embed = Callable[[Sequence[str]], Vectors]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A record as a field has it.

    Attributes:
        state: its text and metadata.
        is_sound: whether its tag and its vector are of the field's space, and of this very text.
    """

    state: State
    is_sound: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Documents that are not as they must be, by what is wrong with them.

    Attributes:
        checked: how many documents were looked at.
        lost: an acknowledged write is missing, or an older one stands in its place.
        resurrected: there is a record, and the last thing that happened to the document was a delete.
        stale: the two fields differ.
        mixed: a vector or a tag is not of its field's space, or not of the text beside it.
    """

    checked: int
    lost: frozenset[str] = field(default_factory=frozenset)
    resurrected: frozenset[str] = field(default_factory=frozenset)
    stale: frozenset[str] = field(default_factory=frozenset)
    mixed: frozenset[str] = field(default_factory=frozenset)

    def __or__(self, other: Findings) -> Findings:
        """Take both together; a document that is wrong twice counts once."""
        return Findings(
            checked=max(self.checked, other.checked),
            lost=self.lost | other.lost,
            resurrected=self.resurrected | other.resurrected,
            stale=self.stale | other.stale,
            mixed=self.mixed | other.mixed,
        )


def read_field(
    store: VectorStore, place: VectorField, embed: Embed, *, on_progress: Callable[[int], None] = lambda _: None
) -> dict[str, Seen]:
    """Read every record of a field through the store's port, and make each vector again.

    Args:
        store: the store.
        place: the field.
        embed: the model of the field's space.
        on_progress: told how many records are done.
    """
    found: dict[str, Seen] = {}
    for records in _pages(store, place):
        again = embed([record.text for record in records])
        for record, vector in zip(records, again, strict=True):
            state = state_of(record.text, record.metadata)
            found[record.id] = Seen(state=state, is_sound=_is_sound(record, place, vector))
        on_progress(len(found))
    return found


def judge(expected: Expectation, serving: Mapping[str, Seen], follower: Mapping[str, Seen] | None) -> Findings:
    """Compare the fields with what the histories allow, and with each other if there are two."""
    fields = [serving] if follower is None else [serving, follower]
    lost: set[str] = set()
    resurrected: set[str] = set()
    stale: set[str] = set()
    mixed: set[str] = set()
    keys = expected.keys.union(*fields)
    for key in keys:
        states = [place[key].state if key in place else None for place in fields]
        allowed = expected.of(key)
        if states[0] not in allowed:
            (resurrected if allowed == {None} else lost).add(key)
        if any(state != states[0] for state in states):
            stale.add(key)
        if not all(place[key].is_sound for place in fields if key in place):
            mixed.add(key)
    return Findings(
        checked=len(keys),
        lost=frozenset(lost),
        resurrected=frozenset(resurrected),
        stale=frozenset(stale),
        mixed=frozenset(mixed),
    )


def _pages(store: VectorStore, place: VectorField) -> Iterator[list[Record]]:
    after = ""
    while True:
        ids = store.ids(place, after=after, limit=_PAGE)
        records = store.fetch(place, ids)
        if records:
            yield [records[id] for id in ids if id in records]
        if len(ids) < _PAGE:
            return
        after = ids[-1]


def _is_sound(record: Record, place: VectorField, again: np.ndarray) -> bool:
    if record.tag.space != place.space or record.tag.content != content_hash(record.text):
        return False
    if record.vector.shape != again.shape:
        return False
    stored, made = record.vector.astype(np.float64), again.astype(np.float64)
    # A vector of no length, or with a NaN, is near nothing.
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = stored @ made / (np.linalg.norm(stored) * np.linalg.norm(made))
    return bool(cosine >= MIN_COSINE)
