"""The store on Qdrant, wherever it runs: what a record is there, and in which order what is asked of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from undrift.adapters.asked import condition_of, require_positive
from undrift.adapters.listing import Listings
from undrift.adapters.stores.qdrant import beside, changing, making, searching
from undrift.adapters.stores.qdrant.conditions import among
from undrift.adapters.stores.qdrant.engine import Engine, Hnsw, Upsert
from undrift.adapters.stores.qdrant.payload import ID
from undrift.adapters.stores.qdrant.places import Asked, Place, Places, seen, shape_of
from undrift.adapters.stores.qdrant.points import Point, PointId, point_id
from undrift.adapters.stores.qdrant.portions import portions, spans
from undrift.domain.filter import native
from undrift.domain.record import DocumentId, Entry, Hit, Metadata, Record, Vector, Vectors, encode_metadata
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.domain.vectors import stacked
from undrift.errors import StoreRejected, StoreUnavailable
from undrift.ports.store import FieldDescription, Filter, Part, StoreCapabilities

#: Points in one request.
_READ, _LISTED, _DELETED, _PUT = 500, 1000, 1000, 100
#: Bytes of a number in a request, about.
_NUMBER = 20


class QdrantVectors:
    """The methods of a store, on an engine that a subclass brings."""

    def __init__(
        self,
        engine: Engine,
        capabilities: StoreCapabilities,
        *,
        hnsw: Hnsw | None,
        payload_indexes: Mapping[str, str],
        listings: Listings,
    ) -> None:
        """Use an engine.

        Args:
            engine: Qdrant.
            capabilities: what is declared.
            hnsw: the index that a search looks into; None and it compares with every point.
            payload_indexes: type by key of the metadata, of the indexes that are made with a collection.
            listings: the ids of its collections in order.
        """
        self._engine = engine
        self._capabilities = capabilities
        self._hnsw = hnsw
        self._payload_indexes = payload_indexes
        self._places = Places(engine)
        self._listings = listings

    @property
    def capabilities(self) -> StoreCapabilities:
        """What this adapter can do."""
        return self._capabilities

    def create(self, field: VectorField, *, dimensions: int, metric: Metric) -> None:
        """Make an empty collection, or room for one more vector in the points of one that is there.

        Raises:
            FieldInUse: it is there.
            BadArgument: Qdrant has no such collections.
            StoreRejected: this server cannot add a vector.
        """
        try:
            making.create(
                self._engine,
                field,
                dimensions=dimensions,
                metric=metric,
                hnsw=self._hnsw,
                payload_indexes=self._payload_indexes,
            )
        finally:
            self._forget(field)

    def drop(self, field: VectorField) -> None:
        """Delete a collection with everything in it, or one vector where its points have others.

        A vector without a name stays, without a value in any point, where a server cannot take it away.
        """
        try:
            making.drop(self._engine, field)
        finally:
            self._forget(field)

    def describe(self, field: VectorField) -> FieldDescription | None:
        """Return what the store knows about a field."""
        place = self._places.look(field)
        if place is None:
            return None
        count = self._engine.count(place.name, self._places.asked(place, None).wire)
        return FieldDescription(dimensions=place.dimensions, metric=place.metric, count=count)

    def upsert(self, field: VectorField, records: Sequence[Record]) -> None:
        """Insert the records, replacing those with the same id whole."""
        if records:
            self._places.on(field, lambda place: self._write(place, records))

    def insert_absent(self, field: VectorField, records: Sequence[Record]) -> None:
        """Insert those records whose ids are not there yet."""
        if records:
            self._places.on(field, lambda place: self._write(place, records, only_absent=True))

    def delete(self, field: VectorField, ids: Sequence[DocumentId], *, filter: Filter | None = None) -> None:
        """Delete records by id, those only that match the filter if there is one."""
        condition = condition_of(filter)
        if ids:
            self._places.on(
                field, lambda place: self._delete(place, ids, self._places.asked(place, condition, anywhere=True))
            )

    def merge_metadata(self, field: VectorField, changes: Mapping[DocumentId, Metadata], *, sequence: int) -> None:
        """Put the given keys into the metadata of existing records, and set the tag's sequence."""
        if not changes:
            return

        def work(place: Place) -> None:
            if place.shape.is_node:
                changing.merge_nodes(self._engine, place, changes, sequence=sequence)
                return
            puts = changing.puts(self._engine, place, changes, sequence=sequence)
            for some in portions(puts, _PUT):
                self._engine.change(place.name, some)

        self._places.on(field, work)

    def fetch(self, field: VectorField, ids: Sequence[DocumentId]) -> dict[DocumentId, Record]:
        """Return the records with their vectors."""

        def work(place: Place) -> dict[DocumentId, Record]:
            shape, found = place.shape, {}
            for some in portions(list(dict.fromkeys(ids)), _READ):
                points = self._engine.retrieve(place.name, _points(some), payload=True, vector=shape.vector)
                for id, point in _own(place, points, some):
                    if point.vector is None:
                        # A point without this vector has no record in this field.
                        continue
                    found[id] = Record(
                        id=id,
                        text=shape.text_of(point),
                        metadata=shape.metadata_of(point),
                        vector=point.vector,
                        tag=shape.tag_of(point),
                    )
            return found

        return self._places.on(field, work)

    def entries(
        self, field: VectorField, ids: Sequence[DocumentId], parts: Part = Part.TEXT
    ) -> dict[DocumentId, Entry]:
        """Return the records without their vectors."""
        return self._places.on(field, lambda place: self._entries_of(place, ids, parts))

    def scan(
        self,
        field: VectorField,
        *,
        after: str = "",
        until: str | None = None,
        limit: int,
        parts: Part = Part.NONE,
        filter: Filter | None = None,
    ) -> list[Entry]:
        """Return the next records in the order of their ids: at most `limit` with after < id <= until."""
        require_positive("limit", limit)
        condition = condition_of(filter)

        def work(place: Place) -> list[Entry]:
            asked = self._places.asked(place, condition)
            found: list[Entry] = []
            size = _LISTED if condition is not None else min(limit, _READ)
            for some in self._listed(place, after, until, size):
                entries = self._entries(place, some, parts, asked)
                found += [entries[id] for id in some if id in entries]
                if len(found) >= limit:
                    break
            return found[:limit]

        return self._places.on(field, work)

    def ids(self, field: VectorField, *, after: str = "", limit: int) -> list[DocumentId]:
        """Return the next ids in order, at most `limit`."""
        require_positive("limit", limit)

        def work(place: Place) -> list[DocumentId]:
            found: list[DocumentId] = []
            for some in self._listed(place, after, None, min(limit, _LISTED)):
                points = seen(self._engine, place, _points(some), payload=[ID], wire=place.here)
                there = {id for id, _ in _own(place, points, some)}
                found += [id for id in some if id in there]
                if len(found) >= limit:
                    break
            return found[:limit]

        return self._places.on(field, work)

    def count(self, field: VectorField, filter: Filter | None = None) -> int:
        """Return how many records there are, or how many match the filter."""
        condition = condition_of(filter)

        def work(place: Place) -> int:
            asked, shape = self._places.asked(place, condition), place.shape
            if asked.condition is None:
                return self._engine.count(place.name, asked.wire)
            points = self._engine.every(place.name, payload=shape.without_text, filter=asked.wire)
            return sum(asked.fits(shape.metadata_of(point)) for point in points)

        return self._places.on(field, work)

    def search(self, field: VectorField, vector: Vector, *, k: int, filter: Filter | None = None) -> list[Hit]:
        """Return the k nearest records that match the filter, best first.

        The filter may be one of Qdrant's own: `{"$native": ...}`, a dict as its REST interface has it, or the client's
        `models.Filter`.
        """
        require_positive("k", k)
        own = native(filter)
        condition = None if own is not None else condition_of(filter)

        def work(place: Place) -> list[Hit]:
            # What has no such vector is not found by one.
            asked = self._places.asked(place, condition, anywhere=True)
            return searching.nearest(self._engine, place, vector, k=k, asked=asked, own=own, index=self._hnsw)

        return self._places.on(field, work)

    def close(self) -> None:
        """Let go of connections and files; a later call opens them again."""
        self._engine.close()

    def _write(self, place: Place, records: Sequence[Record], *, only_absent: bool = False) -> None:
        block, sizes = self._checked(place, records)
        ids = [point_id(record.id) for record in records]
        payloads = [place.shape.packed(record, keeps_floats=self._engine.keeps_floats) for record in records]
        if place.others:
            payloads = [beside.marked(place, payload) for payload in payloads]
        # An upsert replaces a point with all its vectors.
        leaves = bool(place.others) and not only_absent
        if leaves:
            self._engine.require_several(place.name)
        begun = False
        for start, end in spans(sizes, most=beside.MOST if leaves else None):
            try:
                if leaves:
                    made = dict(zip(ids[start:end], payloads[start:end], strict=True))
                    beside.replace(self._engine, place, dict(zip(made, block[start:end], strict=True)), made)
                else:
                    part = Upsert(
                        ids=ids[start:end],
                        vector=place.shape.vector,
                        vectors=block[start:end],
                        payloads=payloads[start:end],
                        only_absent=only_absent,
                    )
                    self._engine.upsert(place.name, part)
            except StoreRejected as error:
                if not begun:
                    raise
                raise StoreUnavailable("a part of a write was refused", str(error)) from error
            begun = True
            self._listings.written(place.name, [record.id for record in records[start:end]])

    def _checked(self, place: Place, records: Sequence[Record]) -> tuple[Vectors, list[int]]:
        """Return the vectors, and the size of each record in a request; refuses what cannot be before it is sent."""
        block = stacked(records, dimensions=place.dimensions, metric=place.metric)
        if len({point_id(record.id) for record in records}) != len(records):
            raise StoreRejected("one call has two records of the same id", "nothing of it was written")
        return block, self._sizes(place, records)

    def _sizes(self, place: Place, records: Sequence[Record]) -> list[int]:
        """Return the bytes of each record in a request, about; refuses what is too large before anything is sent."""
        can, sizes = self._capabilities, []
        for record in records:
            text = len(record.text.encode())
            metadata = len(encode_metadata(record.id, record.metadata).encode())
            for what, size, most in (
                ("text", text, can.max_text_bytes),
                ("metadata", metadata, can.max_metadata_bytes),
            ):
                if most is not None and size > most:
                    raise StoreRejected(
                        f"the {what} of document {record.id!r} has {size:,} bytes, and a request takes {most:,}",
                        "nothing of this call was written",
                    )
            sizes.append(text + metadata + _NUMBER * place.dimensions)
        return sizes

    def _delete(self, place: Place, ids: Sequence[DocumentId], asked: Asked) -> None:
        for some in portions(list(dict.fromkeys(ids)), _DELETED):
            chosen: Iterable[DocumentId] = some
            if asked.condition is not None:
                chosen = self._entries(place, some, Part.NONE, asked)
            self._engine.delete(place.name, among(_points(chosen), asked.wire))
            if asked.wire is None and asked.condition is None:
                self._listings.deleted(place.name, some)

    def _entries_of(self, place: Place, ids: Sequence[DocumentId], parts: Part) -> dict[DocumentId, Entry]:
        found: dict[DocumentId, Entry] = {}
        for some in portions(list(dict.fromkeys(ids)), _READ):
            found |= self._entries(place, some, parts, self._places.asked(place, None))
        return found

    def _entries(self, place: Place, ids: Sequence[DocumentId], parts: Part, asked: Asked) -> dict[DocumentId, Entry]:
        shape, wanted = place.shape, _points(ids)
        payload = True if Part.TEXT in parts else shape.without_text
        points = seen(self._engine, place, wanted, payload=payload, wire=asked.wire)
        found = {}
        for id, point in _own(place, points, ids):
            metadata = shape.metadata_of(point)
            if asked.fits(metadata):
                text = shape.text_of(point) if Part.TEXT in parts else None
                found[id] = Entry(id=id, text=text, metadata=metadata, tag=shape.tag_of(point))
        return found

    def _listed(self, place: Place, after: str, until: str | None, size: int) -> Iterator[Sequence[DocumentId]]:
        """Yield ids in order, so many at a time; some may not be there any more."""

        def everything() -> Iterator[DocumentId]:
            return map(place.shape.id_of, self._engine.every(place.name, payload=[ID]))

        return self._listings.pages(place.name, everything, after, until, size)

    def _forget(self, field: VectorField) -> None:
        self._places.forget(field)
        self._listings.forget(shape_of(field)[0])


def _points(ids: Iterable[DocumentId]) -> list[PointId]:
    return [point_id(id) for id in ids]


def _own(place: Place, points: Iterable[Point], ids: Iterable[DocumentId]) -> Iterator[tuple[DocumentId, Point]]:
    """Return points with the ids they were asked for by; not that of a document whose point has another's id."""
    by_point = {point_id(id): id for id in ids}
    for point in points:
        id = by_point.get(point.id)
        if id is not None and place.shape.id_of(point) == id:
            yield id, point
