"""Searches and reads, always on the field that serves, always in its own space."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from undrift.domain.record import Document, DocumentId, Entry, Hits, Vector
from undrift.domain.route import AliasName, Route, VectorField
from undrift.domain.space import SpaceId
from undrift.errors import BadArgument, CollectionMissing, SpaceMismatch
from undrift.flow.router import Router
from undrift.flow.traffic import Traffic
from undrift.flow.writer import DoorOf
from undrift.ports.store import Filter, Part, VectorStore
from undrift.telemetry import Metric, count

Answer = TypeVar("Answer")

#: Documents read from the store at a time by a scan.
_PAGE = 500


class Reader:
    """Reads what an alias serves."""

    def __init__(
        self,
        alias: AliasName,
        *,
        router: Router,
        store_of: Callable[[VectorField], VectorStore],
        door_of: DoorOf,
        traffic: Traffic | None = None,
    ) -> None:
        """Use this process's routes, and the stores and models behind the fields; `traffic` times the searches."""
        self._traffic = traffic
        self._alias = alias
        self._router = router
        self._store_of = store_of
        self._door_of = door_of

    def search(self, text: str, *, k: int, filter: Filter | None) -> Hits:
        """Return the k documents nearest to a text that match the filter.

        Raises:
            BadArgument: k is not positive, or the text is blank.
            SpaceMismatch: the model in the configuration is not the one the field was made with.
        """
        if k < 1:
            raise BadArgument(f"k is {k}; a search returns at least 1 document", hint="k=10")

        def answer(route: Route) -> Hits:
            return self._nearest(route, self._door_of(route.serving.space).query(text), k, filter, text)

        return self._read(answer)

    def search_vector(self, vector: Vector, *, space: SpaceId, k: int, filter: Filter | None) -> Hits:
        """Return the k documents nearest to a vector of a space that the caller names.

        Raises:
            SpaceMismatch: the alias serves another space; the store is not asked.
        """

        def answer(route: Route) -> Hits:
            require_space(route, space)
            return self._nearest(route, vector, k, filter)

        return self._read(answer)

    def get(self, ids: Sequence[DocumentId]) -> list[Document]:
        """Return the documents that exist, in the order asked for."""

        def answer(route: Route) -> list[Document]:
            found = self._store_of(route.serving).entries(route.serving, ids, Part.TEXT)
            return [_document(found[id]) for id in ids if id in found]

        return self._read(answer)

    def count(self, filter: Filter | None) -> int:
        """Return how many documents there are, or match the filter."""
        return self._read(lambda route: self._store_of(route.serving).count(route.serving, filter))

    def scan(self, filter: Filter | None) -> Iterator[Document]:
        """Yield every document in the order of its id; one that is there all the while comes exactly once."""
        after = ""
        while True:
            page = self._read(lambda route, after=after: self._page(route, after, filter))  # type: ignore[misc]
            yield from map(_document, page)
            if len(page) < _PAGE:
                return
            after = page[-1].id

    def ids(self, filter: Filter) -> list[DocumentId]:
        """Return the ids of the documents that match a filter now."""
        return [DocumentId(document.id) for document in self.scan(filter)]

    def _page(self, route: Route, after: str, filter: Filter | None) -> list[Entry]:
        store = self._store_of(route.serving)
        return store.scan(route.serving, after=after, limit=_PAGE, parts=Part.TEXT, filter=filter)

    def _nearest(self, route: Route, vector: Vector, k: int, filter: Filter | None, text: str = "") -> Hits:
        store = self._store_of(route.serving)
        began = self._traffic.begin() if self._traffic else 0.0
        found = store.search(route.serving, vector, k=k, filter=filter)
        if self._traffic:
            self._traffic.timed(began)
        space = route.serving.space
        # A foreign vector in the field would be a wrong answer: it is left out and counted.
        hits = tuple(hit for hit in found if hit.tag is None or hit.tag.space == space)
        if len(hits) != len(found):
            count(Metric.MIS_TAGGED_HITS, len(found) - len(hits))
        if self._traffic:
            self._traffic.returned(hit.id for hit in hits)
        answer = Hits(hits=hits, space=space, epoch=route.epoch)
        if self._traffic:
            self._traffic.asked(vector, answer, text, filter)
        return answer

    def _read(self, answer: Callable[[Route], Answer]) -> Answer:
        with self._router.using(self._alias) as route:
            try:
                return answer(route)
            except CollectionMissing as error:
                missing = error
        # This process slept through a completion: the field it used is gone, and the ledger knows the new one.
        if self._router.refresh(self._alias).serving == route.serving:
            raise CollectionMissing(missing.message, missing.detail, missing.hint or "undrift doctor") from missing
        with self._router.using(self._alias) as route:
            return answer(route)


def require_space(route: Route, space: SpaceId) -> None:
    """Pass when vectors of a space may meet the serving field.

    Raises:
        SpaceMismatch: they may not.
    """
    if space != route.serving.space:
        raise SpaceMismatch(
            f"vectors of space {space} cannot be used with alias {route.alias}",
            f"since epoch {route.epoch} it serves {route.serving.space}",
            f"undrift alias show {route.alias}",
        )


def _document(entry: Entry) -> Document:
    return Document(id=entry.id, text=entry.text or "", metadata=entry.metadata)
