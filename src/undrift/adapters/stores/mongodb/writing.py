"""Writes to a collection: many updates in one request, each of which is atomic for its document."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from undrift.adapters.stores.mongodb.documents import ID, METADATA
from undrift.adapters.stores.mongodb.foreign import same_metadata
from undrift.adapters.stores.mongodb.found import Found
from undrift.adapters.stores.mongodb.session import Session
from undrift.domain.record import DocumentId
from undrift.errors import StoreRejected, StoreUnavailable
from undrift.ports.store import Part

#: How often a change is tried whose document others changed at the same time.
_TRIES = 100
_DUPLICATE = 11000
Change = tuple[dict[str, Any], dict[str, Any]]


class Writing:
    """Writes to one database."""

    def __init__(self, session: Session) -> None:
        """Use a database."""
        self._session = session

    def put(self, found: Found, made: Sequence[tuple[DocumentId, dict[str, Any]]]) -> None:
        """Change documents, and make those that are not there."""
        self._send(found, [({ID: found.key(id)}, said) for id, said in made], upsert=True)

    def put_absent(self, found: Found, made: Sequence[tuple[DocumentId, dict[str, Any]]]) -> None:
        """Make documents that are not there, and leave the others as they are."""
        self._send(
            found, [({ID: found.key(id)}, {"$setOnInsert": said.get("$set", said)}) for id, said in made], upsert=True
        )

    def change(self, found: Found, changes: Sequence[Change]) -> int:
        """Change documents that are as the queries say, and return how many were."""
        return self._send(found, changes, upsert=False)

    def change_what_was_read(
        self,
        found: Found,
        read: Callable[[], Sequence[Mapping[str, Any]]],
        change: Callable[[Mapping[str, Any]], Change],
    ) -> None:
        """Change documents by what is in them, each only if that is still what was read.

        Raises:
            StoreUnavailable: others changed the same documents all the time; each was changed whole or not at all.
        """
        for _ in range(_TRIES):
            changes = [change(document) for document in read()]
            if not changes or self.change(found, changes) == len(changes):
                return
        raise StoreUnavailable(
            f"{self._session.place.name} is busy: others change documents of {found.collection} all the time",
            f"tried {_TRIES} times; each document was changed whole or not at all",
        )

    def delete_matching(
        self, found: Found, ids: Sequence[DocumentId], wanted: Callable[[Mapping[str, Any]], bool]
    ) -> None:
        """Delete documents whose metadata are asked for, each only while these are what was read.

        Raises:
            StoreUnavailable: others changed the same documents all the time.
        """
        collection = self._session.database[found.collection]
        left = list(ids)
        for _ in range(_TRIES):
            again: list[DocumentId] = []
            for document in collection.find({ID: {"$in": [found.key(id) for id in left]}}, found.reads(Part.NONE)):
                if wanted(found.row(document)):
                    same = {METADATA: document.get(METADATA)}
                    if found.places is not None:
                        same = same_metadata(found.places, document)
                    if not collection.delete_one({ID: document[ID], **same}).deleted_count:
                        again.append(DocumentId(found.row(document)[ID]))
            if not again:
                return
            left = again
        raise StoreUnavailable(
            f"{self._session.place.name} is busy: others change {left[0]!r} of {found.collection} all the time"
        )

    def _send(self, found: Found, changes: Sequence[Change], *, upsert: bool) -> int:
        from pymongo import ReplaceOne, UpdateOne
        from pymongo.errors import BulkWriteError

        collection = self._session.database[found.collection]
        left = list(changes)
        matched = 0
        while left:
            try:
                asked = [
                    (UpdateOne if next(iter(said)).startswith("$") else ReplaceOne)(query, said, upsert=upsert)
                    for query, said in left
                ]
                done = collection.bulk_write(asked, ordered=False)
            except BulkWriteError as error:
                details: Any = error.details or {}
                failed = details.get("writeErrors", [])
                if details.get("writeConcernErrors") or not failed:
                    raise StoreUnavailable(
                        f"{self._session.place.name} has not heard from a majority of its members in time",
                        str(details.get("writeConcernErrors")),
                        "it may have been written; look at the deployment",
                    ) from error
                matched += details.get("nMatched", 0) + details.get("nUpserted", 0)
                others = [one for one in failed if one.get("code") != _DUPLICATE]
                if others:
                    raise self._failure(others[0], written=len(left) - len(failed)) from error
                # Two made the same document at once: it is there now, and is changed.
                left = [left[one["index"]] for one in failed]
            else:
                return matched + int(done.matched_count) + int(done.upserted_count)
        return matched

    def _failure(self, failed: Mapping[str, Any], *, written: int) -> Exception:
        said = str(failed.get("errmsg", ""))
        if written:
            # To say that nothing was written would be wrong.
            return StoreUnavailable(
                f"{self._session.place.name} took {written} documents of a write, and not another one", said
            )
        return StoreRejected(f"{self._session.place.name} does not take this: {said}", "nothing of it was written")
