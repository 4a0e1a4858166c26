"""Whether the documents of an alias are still such as they were when the reference was taken."""

from __future__ import annotations

import base64
import hashlib
import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from undrift.domain.finding import Finding
from undrift.domain.record import DocumentId, Record
from undrift.domain.route import VectorField
from undrift.domain.window import Window, as_kept, labels_of
from undrift.domain.wording import plural
from undrift.errors import ConflictError
from undrift.ports.memory import MemoryLedger
from undrift.ports.store import VectorStore
from undrift.quality.drift import LEAST, REFERENCE, WINDOW
from undrift.watch.comparison import findings, taken, too_few

CHECK = "documents"
#: Documents that are known again: of those that are there when the reference is taken, so many at most. The first of
#: them are the reference. Among those that would be known, the ones that are not are a fair choice of what came since.
KNOWN = 20_000
_MEMO = "watch/documents/reference/"
#: Ids listed, and records read, at a time.
_IDS, _PAGE = 5000, 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """The documents of an alias.

    Attributes:
        alias: its name.
        store: where they are.
        field: the field that serves.
        labels: keys of the metadata that divide them, such as their language.
    """

    alias: str
    store: VectorStore
    field: VectorField
    labels: Sequence[str] = ()


def look(corpus: Corpus, memory: MemoryLedger, *, moment: datetime) -> Iterable[Finding]:
    """Compare the documents that came since the reference with it; where they are few, those that are there now.

    The first look takes the reference, and so does the first one in another space.
    """
    memo = memory.recall(_MEMO + corpus.alias)
    reference = Window.from_text(memo.text) if memo is not None else None
    if reference is None or reference.space != corpus.field.space:
        return [accept(corpus, memory, moment=moment)]
    chosen, _ = _chosen(corpus)
    known = np.frombuffer(base64.b64decode(reference.more["known"]), dtype="<u8")
    limit = int(known.max()) if reference.more["total"] > KNOWN else 2**64
    there = set(known.tolist())
    came = [id for place, id in chosen if place <= limit and place not in there]
    if len(came) >= LEAST:
        picked, what = came[:WINDOW], "documents that came since"
    else:
        # Those of the reference itself would hide what is new about the others.
        own = set(known[: len(reference.vectors)].tolist())
        others = [id for place, id in chosen if place not in own]
        rest = others if len(others) >= LEAST else [id for _, id in chosen]
        rng = np.random.default_rng(int(moment.timestamp()))
        picked, what = [rest[row] for row in rng.permutation(len(rest))[:WINDOW]], "documents that are there now"
    records = _read(corpus, picked)
    if len(records) < LEAST:
        return [too_few(CHECK, corpus.alias, "now", len(records), moment)]
    return findings(
        CHECK,
        corpus.alias,
        reference,
        _window(corpus, records, moment),
        what=f"{len(records):,} {what}",
        moment=moment,
        text_of=lambda row: records[row].text or records[row].id,
    )


def accept(corpus: Corpus, memory: MemoryLedger, *, moment: datetime) -> Finding:
    """Take the documents that are there now as the reference.

    Raises:
        ConflictError: another process did the same at this moment.
    """
    memo = memory.recall(_MEMO + corpus.alias)
    chosen, total = _chosen(corpus)
    records = _read(corpus, [id for _, id in chosen[:REFERENCE]])
    if len(records) < LEAST:
        return too_few(CHECK, corpus.alias, "now", len(records), moment)
    places = np.array([place for place, _ in chosen], dtype="<u8")
    window = _window(corpus, records, moment)
    window.more.update(total=total, known=base64.b64encode(places.tobytes()).decode("ascii"))
    if not memory.remember(_MEMO + corpus.alias, window.as_text(), version=memo.version if memo is not None else 0):
        raise ConflictError(f"the reference of {corpus.alias} was taken by another process at this moment")
    return taken(CHECK, corpus.alias, len(records), plural(len(records), "document"), moment)


def _chosen(corpus: Corpus) -> tuple[list[tuple[int, DocumentId]], int]:
    """Return a choice of the ids in an order that is random and always the same, and how many ids there are."""
    heap: list[tuple[int, DocumentId]] = []
    total, after = 0, ""
    key = hashlib.blake2b(corpus.alias.encode(), digest_size=16).digest()
    while True:
        page = corpus.store.ids(corpus.field, after=after, limit=_IDS)
        for id in page:
            place = int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8, key=key).digest())
            if len(heap) < KNOWN:
                heapq.heappush(heap, (-place, id))
            elif place < -heap[0][0]:
                heapq.heapreplace(heap, (-place, id))
        total += len(page)
        if len(page) < _IDS:
            return sorted((-place, id) for place, id in heap), total
        after = page[-1]


def _read(corpus: Corpus, ids: Sequence[DocumentId]) -> list[Record]:
    """Return the records of these ids that are still there."""
    records = []
    for start in range(0, len(ids), _PAGE):
        page = ids[start : start + _PAGE]
        found = corpus.store.fetch(corpus.field, page)
        records += [found[id] for id in page if id in found]
    return records


def _window(corpus: Corpus, records: Sequence[Record], moment: datetime) -> Window:
    labels = [labels_of(record.metadata, corpus.labels) for record in records] if corpus.labels else []
    return Window(
        space=corpus.field.space,
        moment=moment.isoformat(),
        vectors=as_kept(np.stack([record.vector for record in records])),
        labels=labels,
    )
