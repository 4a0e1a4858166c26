"""Reads of a collection: by id, and in the order of ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from undrift.adapters.listing import Listings
from undrift.adapters.stores.mongodb.conditions import EVERYTHING, Query, query_of
from undrift.adapters.stores.mongodb.documents import ID, metadata_of
from undrift.adapters.stores.mongodb.found import Found
from undrift.adapters.stores.mongodb.session import Session
from undrift.domain.filter import Condition, matches
from undrift.domain.record import DocumentId

#: Documents of one request by id, and at least so many while a filter leaves some out.
PAGE, _LEAST_PAGE = 1_000, 64


class Reading:
    """Reads of one database."""

    def __init__(self, session: Session, listings: Listings) -> None:
        """Use a database, and lists of ids where MongoDB has no order of them."""
        self._session = session
        self._listings = listings

    def documents(self, found: Found, ids: Sequence[DocumentId], named: Mapping[str, int]) -> list[Mapping[str, Any]]:
        """Return documents by id that have a vector of the field, as undrift's own are."""
        return [found.row(document) for document in self.stored(found, ids, named)]

    def stored(self, found: Found, ids: Sequence[DocumentId], named: Mapping[str, int]) -> list[Mapping[str, Any]]:
        """Return documents by id that have a vector of the field, as they are."""
        read: list[Mapping[str, Any]] = []
        for page in pages_of(ids):
            keys = [found.key(id) for id in page]
            read += self._session.database[found.collection].find({ID: {"$in": keys}, **found.has_vector}, dict(named))
        return read

    def matching(
        self,
        found: Found,
        condition: Condition | None,
        *,
        after: str,
        until: str | None,
        limit: int,
        named: Mapping[str, int],
    ) -> Iterator[Mapping[str, Any]]:
        """Yield documents in the order of their ids; more than the limit, if they are asked for."""
        if not found.is_own:
            yield from self._listed(found, condition, after=after, until=until, limit=limit, named=named)
            return
        query, exact = query_of(condition)
        size = min(limit, PAGE) if exact else PAGE
        while True:
            within = {"$gt": after, **({} if until is None else {"$lte": until})}
            asked = {"$and": [{ID: within}, found.has_vector, query]}
            page = list(self._session.database[found.collection].find(asked, dict(named)).sort(ID, 1).limit(size))
            yield from (one for one in page if exact or fits(condition, one))
            if len(page) < size:
                return
            after = page[-1][ID]

    def _listed(
        self,
        found: Found,
        condition: Condition | None,
        *,
        after: str,
        until: str | None,
        limit: int,
        named: Mapping[str, int],
    ) -> Iterator[Mapping[str, Any]]:
        """Yield documents of a collection whose ids MongoDB orders by their types first."""

        def listed() -> list[DocumentId]:
            return [
                DocumentId(found.row(one)[ID])
                for one in self._session.database[found.collection].find(found.has_vector, {ID: 1})
            ]

        ids = self._listings.after(found.collection, listed, after, until)
        size = max(min(limit, PAGE), _LEAST_PAGE)
        for start in range(0, len(ids), size):
            # What somebody else deleted may still be in the list.
            there = self.documents(found, ids[start : start + size], {ID: 1} if named == {ID: 1} else named)
            for one in sorted(there, key=lambda one: str(one[ID])):
                if fits(condition, one):
                    yield one


def pages_of(ids: Sequence[DocumentId]) -> list[list[DocumentId]]:
    """Return distinct ids, so many at a time as one request takes."""
    distinct = list(dict.fromkeys(ids))
    return [distinct[start : start + PAGE] for start in range(0, len(distinct), PAGE)]


def asked_of(found: Found, condition: Condition | None, *, by_index: bool = False) -> tuple[Query, bool]:
    """Return a query for a superset of what is asked for, and whether it is just that."""
    # What metadata mean that another program wrote, no query says as undrift does.
    return query_of(condition, by_index=by_index) if found.is_own else (EVERYTHING, condition is None)


def fits(condition: Condition | None, document: Mapping[str, Any]) -> bool:
    """Whether a document, as undrift's own are, is asked for."""
    return condition is None or matches(condition, metadata_of(document))
