"""Give the records of an adopted collection their tags, some at a time, so that it goes on where it was interrupted."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import numpy as np

from undrift.domain.record import Entry, is_tagged, tag_for
from undrift.domain.route import VectorField
from undrift.ports.source import DocumentSource
from undrift.ports.store import SupportsTagging, VectorStore
from undrift.quality.foreign import Detector

#: Records that get their tags in one go.
PAGE = 500


@dataclass(slots=True, kw_only=True)
class Tagging:
    """How far it has come; kept in the ledger after every page.

    Attributes:
        cursor: the last id that was looked at.
        seen: records looked at.
        tagged: records that got a tag.
        left: ids of records that got none because their vectors seem to be another model's, the first hundred.
        left_count: how many of them there are.
        without_text: records without a text that could be hashed.
        changed: records that somebody wrote while they were looked at; they have the tag of whoever that was, or none.
    """

    cursor: str = ""
    seen: int = 0
    tagged: int = 0
    left: list[str] = field(default_factory=list)
    left_count: int = 0
    without_text: int = 0
    changed: int = 0


def tag_all(
    store: VectorStore,
    place: VectorField,
    source: DocumentSource,
    *,
    run: Tagging,
    leave: Collection[str],
    detector: Detector | None,
    keep: Callable[[Tagging], None],
) -> None:
    """Tag every record of a field that has no tag, except those that are foreign.

    Args:
        store: the field's store, which supports tagging.
        place: the field.
        source: where texts come from.
        run: how far it has come; changed in place.
        leave: ids that are known to be foreign.
        detector: tells foreign vectors; None where it cannot.
        keep: called after every page.
    """
    assert isinstance(store, SupportsTagging)
    while True:
        ids = store.ids(place, after=run.cursor, limit=PAGE)
        records = [record for record in store.fetch(place, ids).values() if not is_tagged(record.tag)]
        entries = [Entry(id=one.id, text=one.text, metadata=one.metadata, tag=None) for one in records]
        texts = source.texts(entries)
        suspected = set(leave)
        if detector is not None and records:
            scores = detector.scores(np.stack([one.vector for one in records]))
            suspected |= {one.id for one, score in zip(records, scores, strict=True) if score > 0}
        wanted = []
        for entry in entries:
            text = texts.get(entry.id)
            if text is None or not text.strip():
                run.without_text += 1
            elif entry.id in suspected:
                run.left_count += 1
                run.left = [*run.left, entry.id][:100]
            else:
                wanted.append(Entry(id=entry.id, text=entry.text, metadata={}, tag=tag_for(text, place.space)))
        done = store.tag(place, wanted)
        run.seen += len(ids)
        run.tagged += len(done)
        run.changed += len(wanted) - len(done)
        run.cursor = ids[-1] if ids else run.cursor
        keep(run)
        if len(ids) < PAGE:
            return
