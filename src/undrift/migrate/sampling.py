"""A random choice of the records of a field, and what a model gives for their texts now."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np

from undrift.domain.record import DocumentId, Entry, Record, Vectors
from undrift.domain.route import VectorField
from undrift.errors import BudgetExhausted, BudgetRequired
from undrift.flow.embed import EmbeddingDoor
from undrift.migrate.purse import require_price
from undrift.ports.source import DocumentSource
from undrift.ports.store import VectorStore
from undrift.quality.sameness import distances, limit_for

#: Ids listed, and records read, at a time.
_IDS, _PAGE = 5000, 500
#: Texts that are embedded twice, to learn how far apart a model's own answers are.
_REPEATED = 8


class Allowance:
    """What an examination may spend on a model that is paid for; safe from several threads.

    Attributes:
        spent: tokens sent so far.
    """

    def __init__(
        self, door: EmbeddingDoor, *, tokens: int | None, usd: float | None, unlimited: bool, what: str
    ) -> None:
        """Begin with nothing spent.

        Args:
            door: the model.
            tokens: most tokens.
            usd: most dollars.
            unlimited: it may cost what it costs.
            what: the examination, for messages.

        Raises:
            BudgetRequired: the model is paid for, and nobody said how much it may cost, or what a token costs.
        """
        if door.limits.paid and tokens is None and usd is None and not unlimited:
            raise BudgetRequired(
                f"{what} embeds some texts again, and model {door.space.model} is paid for",
                hint="say how much it may cost: --budget-usd N, or --budget-tokens N, or --no-budget",
            )
        price = door.limits.usd_per_million_tokens
        require_price(door.limits, usd, door.space.model)
        limits = [tokens, int(usd / price * 1e6) if usd is not None and price else None]
        self._most = min((limit for limit in limits if limit is not None), default=None)
        self._what = what
        self._lock = Lock()
        self.spent = 0

    def reserve(self, tokens: int) -> bool:
        """Put tokens aside before they are sent.

        Raises:
            BudgetExhausted: that would be more than the budget.
        """
        with self._lock:
            if self._most is not None and self.spent + tokens > self._most:
                raise BudgetExhausted(
                    f"{self._what} would take more than its budget of {self._most} tokens",
                    f"{self.spent} are spent, and the next request has {tokens}",
                    "a larger budget, or a smaller --sample",
                )
            self.spent += tokens
        return True

    def settle(self, reserved: int, billed: int) -> None:
        """Replace what was put aside by what it has cost."""
        with self._lock:
            self.spent += billed - reserved


def choose(
    store: VectorStore, field: VectorField, sizes: Sequence[int], *, salt: str, on_progress: Callable[[int], None]
) -> tuple[list[list[DocumentId]], int]:
    """Return random choices of a field's ids, each of another size, and how many ids there are.

    A choice is the same whenever it is made with the same salt of the same ids; a smaller one is a part of the larger.
    """
    most = max(sizes, default=0)
    heap: list[tuple[int, DocumentId]] = []
    total, after = 0, ""
    key = hashlib.blake2b(salt.encode(), digest_size=16).digest()
    while True:
        page = store.ids(field, after=after, limit=_IDS)
        for id in page:
            place = int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8, key=key).digest())
            if len(heap) < most:
                heapq.heappush(heap, (-place, id))
            elif heap and place < -heap[0][0]:
                heapq.heapreplace(heap, (-place, id))
        total += len(page)
        on_progress(total)
        if len(page) < _IDS:
            break
        after = page[-1]
    ordered = [id for _, id in sorted(heap, reverse=True)]
    return [ordered[:size] for size in sizes], total


def read(store: VectorStore, field: VectorField, ids: Sequence[DocumentId]) -> Iterator[list[Record]]:
    """Yield the records of these ids that are still there, some at a time."""
    for start in range(0, len(ids), _PAGE):
        page = ids[start : start + _PAGE]
        found = store.fetch(field, page)
        yield [found[id] for id in page if id in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """Records of which the model was asked again.

    Attributes:
        records: n of them, with a text that could be embedded.
        texts: their texts, as the source has them.
        made: what the model gives for the texts now: float32, shape (n, d).
        distances: cosine distance of stored and made vector, each; nan where the dimensions differ.
        unreadable: how many records had no such text, by the reason.
        noise: the largest distance of two answers of the model to one text.
    """

    records: list[Record]
    texts: list[str]
    made: Vectors
    distances: np.ndarray
    unreadable: dict[str, int]
    noise: float

    @property
    def limit(self) -> float:
        """The distance up to which a vector counts as the model's."""
        return limit_for(self.noise)

    @property
    def differing(self) -> list[int]:
        """The rows whose vector is not the model's."""
        return [row for row, distance in enumerate(self.distances) if not distance <= self.limit]


def examine(
    records: Sequence[Record], door: EmbeddingDoor, source: DocumentSource, allowance: Allowance, *, noise: float | None
) -> Examined:
    """Ask a model again for the vectors of some records.

    Args:
        records: the records.
        door: the model.
        source: where texts come from.
        allowance: what it may cost.
        noise: what is known of the model's own noise; measured when None.
    """
    entries = [Entry(id=record.id, text=record.text, metadata=record.metadata, tag=record.tag) for record in records]
    known = source.texts(entries)
    unreadable: dict[str, int] = {}
    kept: list[Record] = []
    for record in records:
        if record.id in known:
            kept.append(record)
        else:
            unreadable["source_missing"] = unreadable.get("source_missing", 0) + 1
    embedded = door.documents([known[record.id] for record in kept], purse=allowance)
    for failure in embedded.failures.values():
        unreadable[failure.reason.value] = unreadable.get(failure.reason.value, 0) + 1
    rows = [row for row in range(len(kept)) if row not in embedded.failures]
    kept = [kept[row] for row in rows]
    texts, made = [known[record.id] for record in kept], embedded.vectors[rows]
    if noise is None:
        noise = _noise_of(door, texts[:_REPEATED], made[:_REPEATED], allowance)
    apart = np.full(len(kept), np.nan)
    if kept and kept[0].vector.shape == made[0].shape:
        apart = distances(np.stack([record.vector for record in kept]), made)
    return Examined(records=kept, texts=texts, made=made, distances=apart, unreadable=unreadable, noise=noise)


def _noise_of(door: EmbeddingDoor, texts: Sequence[str], made: Vectors, allowance: Allowance) -> float:
    if not texts:
        return 0.0
    again = door.fresh(texts, purse=allowance)
    # One by one, as a writer of single documents gets them.
    alone = np.concatenate([door.fresh([text], purse=allowance) for text in texts[: _REPEATED // 2]])
    return float(max(distances(made, again).max(), distances(made[: len(alone)], alone).max()))
