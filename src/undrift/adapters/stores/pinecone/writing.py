"""Writes, each acknowledged when both ways of reading have shown it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from undrift.adapters.stores.pinecone.indexes import Found
from undrift.adapters.stores.pinecone.reading import Reader
from undrift.adapters.stores.pinecone.rows import described, key_of, row_of, vector_of
from undrift.adapters.stores.pinecone.session import Session
from undrift.domain.record import DocumentId, Record
from undrift.domain.vectors import stacked
from undrift.errors import StoreRejected, StoreUnavailable

#: A request takes 2 MB and 1,000 vectors; ids of a deletion, 1,000.
_MOST_BYTES, _MOST_ROWS = 1_800_000, 1_000
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.005, 1.0


class Writer:
    """Writes to one index.

    Pinecone acknowledges a write when it stands in its log. Reads see it later, a query and a fetch at different times.
    Every write has a number in the log (LSN), and a query says up to which number it has seen. So a write is done here
    when a query has seen its number, and a fetch brings what was written.
    """

    def __init__(self, session: Session, found: Found, reader: Reader, *, namespace: str, confirm_s: float) -> None:
        """Write as to an index that was found."""
        self._session = session
        self._found = found
        self._reader = reader
        self._namespace = namespace
        self._confirm_s = confirm_s

    def rows(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        """Return records as requests have them.

        Raises:
            StoreRejected: a record cannot be kept.
            BadDocument: the metadata of one is not JSON.
        """
        block = stacked(records, dimensions=self._found.dimensions, metric=self._found.metric)
        if len({record.id for record in records}) != len(records):
            raise StoreRejected("one call has two records of the same id", "nothing of it was written")
        for record, row in zip(records, block, strict=True):
            if not row.any():
                raise StoreRejected(
                    f"the vector of document {record.id!r} has only zeros, which Pinecone does not keep",
                    "nothing of this call was written",
                )
        return [row_of(record, row) for record, row in zip(records, block, strict=True)]

    def put(self, ids: Sequence[DocumentId], rows: Sequence[dict[str, Any]]) -> None:
        """Write rows whole.

        Raises:
            StoreRejected: nothing of them was taken.
            StoreUnavailable: some may have been written, and others not; or nobody has seen them yet.
        """
        reached: list[int | None] = []
        for piece in _pieces(rows):
            try:
                reached.append(self._upserted(piece))
            except StoreRejected as error:
                if reached:
                    raise self._partly(error.detail) from error
                raise
        sent = dict(zip(ids, rows, strict=True))
        self._confirm(reached, ids, lambda there: {id for id, row in sent.items() if _is(there.get(id), row)})

    def change(self, metadata: Mapping[DocumentId, Mapping[str, Any]], *, sequence: int) -> None:
        """Replace the metadata of records that are there, and the sequences of their tags."""
        # All that cannot be kept is refused before the first is sent.
        sent = {id: {**described(id, after), "sequence": sequence} for id, after in metadata.items()}
        reached = [self._updated(key_of(id), said) for id, said in sent.items()]

        def done(there: Mapping[DocumentId, Any]) -> set[DocumentId]:
            # One that was deleted meanwhile is done with.
            return {
                id
                for id, said in sent.items()
                if id not in there
                or all((there[id].metadata or {}).get(key) == said[key] for key in ("metadata", "sequence"))
            }

        self._confirm(reached, list(sent), done)

    def take_out(self, ids: Sequence[DocumentId]) -> None:
        """Delete records; unknown ids are no error."""
        pages = [ids[start : start + _MOST_ROWS] for start in range(0, len(ids), _MOST_ROWS)]
        reached = [self._deleted([key_of(id) for id in page]) for page in pages]
        self._confirm(reached, ids, lambda there: set(ids) - there.keys())

    def _upserted(self, piece: Sequence[dict[str, Any]]) -> int | None:
        answer = self._call(lambda index: index.upsert(vectors=piece, namespace=self._namespace))
        return _number(answer.response_info.lsn_committed)

    def _updated(self, key: str, said: Mapping[str, Any]) -> int | None:
        answer = self._call(lambda index: index.update(id=key, set_metadata=said, namespace=self._namespace))
        return _number(answer.response_info.lsn_committed)

    def _deleted(self, keys: Sequence[str]) -> int | None:
        body = {"ids": keys, "namespace": self._namespace}
        # The client's own method does the same, and throws away what the answer says of the log.
        answer = self._call(lambda index: index._http.post("/vectors/delete", json=body))  # noqa: SLF001 - see above
        said = answer.headers
        return _number(said.get("x-pinecone-request-lsn") or said.get("x-pinecone-lsn-committed"))

    def _call(self, work: Callable[[Any], Any]) -> Any:
        return self._reader.call(work)

    def _confirm(
        self,
        reached: Sequence[int | None],
        ids: Sequence[DocumentId],
        seen: Callable[[Mapping[DocumentId, Any]], set[DocumentId]],
    ) -> None:
        """Wait until queries and fetches show what was written.

        Raises:
            StoreUnavailable: they do not, or nobody can know.
        """
        numbers = [number for number in reached if number is not None]
        if len(numbers) < len(reached):
            raise StoreUnavailable(
                f"{self._session.name} does not say where in its log a write is, so nobody can know who sees it",
                "it was sent, and what became of it is not known",
                "only serverless indexes say it",
            )
        probe = np.ones(self._found.dimensions, np.float64).tolist()
        end, pause_s = time.monotonic() + self._confirm_s, _FIRST_PAUSE_S
        open = list(ids)
        is_seen = not numbers
        while True:
            if not is_seen:
                answer = self._call(lambda index: index.query(vector=probe, top_k=1, namespace=self._namespace))
                is_seen = answer.response_info.is_reconciled(max(numbers))
            if is_seen:
                done = seen(self._reader.by_id(open))
                open = [id for id in open if id not in done]
                if not open:
                    return
            if time.monotonic() > end:
                raise StoreUnavailable(
                    f"{self._session.name} has taken a write and does not show it after {self._confirm_s:g} s",
                    "what became of it is not known",
                    "raise `confirm_s` of the store, if its index is often so slow",
                )
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _partly(self, said: str) -> StoreUnavailable:
        return StoreUnavailable(f"{self._session.name} has done this in part", said, "look at what it does not take")


def _number(said: Any) -> int | None:
    return None if said is None else int(said)


def _is(found: Any, row: Mapping[str, Any]) -> bool:
    """Whether what was found is what was written."""
    if found is None or dict(found.metadata) != row["metadata"]:
        return False
    return vector_of(found).tobytes() == np.array(row["values"], np.float64).astype(np.float32).tobytes()


def _pieces(rows: Sequence[dict[str, Any]]) -> Iterator[Sequence[dict[str, Any]]]:
    """Yield what goes into one request each."""
    start, size = 0, 0
    for at, row in enumerate(rows):
        length = len(json.dumps(row))
        if at > start and (size + length > _MOST_BYTES or at - start == _MOST_ROWS):
            yield rows[start:at]
            start, size = at, 0
        size += length
    yield rows[start:]
