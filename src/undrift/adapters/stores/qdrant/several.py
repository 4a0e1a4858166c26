"""Records that have a vector beside others in the same points, and tags for vectors that are there already."""

from __future__ import annotations

from collections.abc import Sequence

from undrift.adapters.stores.qdrant import beside, changing
from undrift.adapters.stores.qdrant.places import Place
from undrift.adapters.stores.qdrant.portions import portions, spans
from undrift.adapters.stores.qdrant.store import QdrantVectors
from undrift.domain.record import DocumentId, Entry, Record
from undrift.domain.route import VectorField
from undrift.errors import StoreRejected
from undrift.ports.store import Part

#: Points in one request.
_DETACHED, _TAGGED = 500, 100


class QdrantRecords(QdrantVectors):
    """The methods of a store that not every store has."""

    def attach(self, field: VectorField, records: Sequence[Record]) -> None:
        """Put each vector with its tag beside the record of that id, if that still has the very text of the record."""

        def work(place: Place) -> None:
            block, sizes = self._checked(place, records)
            self._require_several(place)
            for start, end in spans(sizes, most=beside.MOST):
                beside.attach(self._engine, place, records[start:end], list(block[start:end]))

        if records:
            self._places.on(field, work)

    def detach(self, field: VectorField, ids: Sequence[DocumentId]) -> None:
        """Take vector and tag of the field out of these records, which stay with everything else."""

        def work(place: Place) -> None:
            if ids:
                self._require_several(place)
            for some in portions(list(dict.fromkeys(ids)), _DETACHED):
                beside.detach(self._engine, place, some)

        self._places.on(field, work)

    def tag(self, field: VectorField, entries: Sequence[Entry]) -> set[DocumentId]:
        """Give records the tags of the entries, as long as they have their texts; return the ids of those that got one.

        A condition on the text is part of the step that puts the tag.
        """
        told = {one.id: one for one in entries if one.tag is not None and one.text is not None}

        def work(place: Place) -> set[DocumentId]:
            if not place.shape.has_tags:
                return set()
            every = list(told.values())
            for start, end in spans([len((one.text or "").encode()) for one in every]):
                for some in portions(list(changing.tags(self._engine, place, every[start:end])), _TAGGED):
                    self._engine.change(place.name, some)
            done = self._entries_of(place, list(told), Part.TEXT)
            return {id for id, one in done.items() if (one.text, one.tag) == (told[id].text, told[id].tag)}

        return self._places.on(field, work) if told else set()

    def _require_several(self, place: Place) -> None:
        self._engine.require_several(place.name)
        if not place.shape.has_tags:
            raise StoreRejected(
                f"collection {place.name} keeps its tags in the ledger, which knows of one vector in a record",
                "nothing of this call was written",
                "migrate to a collection of its own",
            )
