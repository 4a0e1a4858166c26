"""Writes, each acknowledged by every replica."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from undrift.adapters.stores.weaviate.collections import Found
from undrift.adapters.stores.weaviate.rows import described, key_of, object_of
from undrift.adapters.stores.weaviate.session import Session
from undrift.domain.record import DocumentId, Record
from undrift.domain.vectors import stacked
from undrift.errors import CollectionMissing, StoreRejected, StoreUnavailable

#: A request is not longer than about this; a server takes 100 MB.
_MOST_BYTES = 4 * 2**20
_MOST_OBJECTS = 500


class Writer:
    """Writes to one collection."""

    def __init__(self, session: Session, found: Found, collection: str) -> None:
        """Write as to a collection that was found."""
        self._session = session
        self._found = found
        self._collection = collection

    def objects(self, records: Sequence[Record]) -> list[Any]:
        """Return records as messages.

        Raises:
            StoreRejected: a record cannot be kept.
            BadDocument: the metadata of one is not JSON.
        """
        block = stacked(records, dimensions=self._found.dimensions, metric=self._found.metric)
        if len({record.id for record in records}) != len(records):
            raise StoreRejected("one call has two records of the same id", "nothing of it was written")
        return [object_of(record, row, self._found.name) for record, row in zip(records, block, strict=True)]

    def put(self, objects: Sequence[Any]) -> None:
        """Write objects whole.

        Raises:
            StoreRejected: none of them was taken.
            StoreUnavailable: some may have been written, and others not.
        """
        from weaviate.proto.v1 import base_pb2, batch_pb2

        begun = False
        for piece in _pieces(objects):
            request = batch_pb2.BatchObjectsRequest(objects=piece, consistency_level=base_pb2.CONSISTENCY_LEVEL_ALL)
            try:
                errors = self._session.call(self._collection, "BatchObjects", request).errors
            except StoreRejected as error:
                if begun:
                    raise self._partly(error.detail) from error
                raise
            if errors:
                said = errors[0].error
                if begun or len({one.index for one in errors}) < len(piece) or "replicas" in said or "timeout" in said:
                    raise self._partly(said)
                raise StoreRejected(f"{self._session.place.name} does not take this", said)
            begun = True

    def change(self, id: DocumentId, metadata: Mapping[str, Any], *, sequence: int) -> None:
        """Replace the metadata of an object, and the sequence of its tag; one that is not there is left out."""
        from weaviate.classes.config import ConsistencyLevel

        said = {**described(id, metadata), "sequence": sequence}

        def patch(client: Any) -> None:
            collection = client.collections.use(self._found.name).with_consistency_level(ConsistencyLevel.ALL)
            collection.data.update(uuid=key_of(id), properties=said)

        try:
            self._session.ask(self._collection, patch)
        except CollectionMissing:
            # The server says the same of an object that is gone; the next call says whether the collection is.
            return

    def take_out(self, filters: Any) -> None:
        """Delete what a filter finds.

        Raises:
            StoreUnavailable: some may have been deleted, and others not.
        """
        from weaviate.proto.v1 import base_pb2, batch_delete_pb2

        request = batch_delete_pb2.BatchDeleteRequest(
            collection=self._found.name,
            filters=filters,
            consistency_level=base_pb2.CONSISTENCY_LEVEL_ALL,
        )
        reply = self._session.call(self._collection, "BatchDelete", request)
        if reply.failed:
            raise self._partly(f"{reply.failed} of {reply.matches} could not be deleted")

    def _partly(self, said: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self._session.place.name} has done this in part, or not at all",
            said,
            "look whether all of its nodes run: every replica has to acknowledge a write",
        )


def _pieces(objects: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Yield what goes into one request each."""
    start, size = 0, 0
    for at, one in enumerate(objects):
        length = one.ByteSize()
        if at > start and (size + length > _MOST_BYTES or at - start == _MOST_OBJECTS):
            yield objects[start:at]
            start, size = at, 0
        size += length
    yield objects[start:]
