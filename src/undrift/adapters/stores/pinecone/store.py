"""Vectors in Pinecone, for aliases that are not migrated: what it does not promise, a migration would need."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

from undrift.adapters.asked import condition_of, require_positive, require_within
from undrift.adapters.listing import Listings
from undrift.adapters.stores.pinecone import rows
from undrift.adapters.stores.pinecone.indexes import MAX_DIMENSIONS, Found, Indexes
from undrift.adapters.stores.pinecone.reading import Reader
from undrift.adapters.stores.pinecone.session import Session
from undrift.adapters.stores.pinecone.writing import Writer
from undrift.domain.filter import Condition, matches, native
from undrift.domain.names import NameRule
from undrift.domain.record import DocumentId, Entry, Hit, Metadata, Record, Vector, encode_metadata
from undrift.domain.route import VectorField
from undrift.domain.shape import own_name
from undrift.domain.space import Metric
from undrift.domain.vectors import checked_query
from undrift.errors import BadConfig, CollectionMissing
from undrift.ports.store import FieldDescription, Filter, Layout, Part, StoreCapabilities

_T = TypeVar("_T")
_CAPABILITIES = StoreCapabilities(
    name="pinecone",
    names=NameRule(marks="-", capitals=False, letter_first=True, longest=45),
    metrics=frozenset(Metric),
    max_dimensions=MAX_DIMENSIONS,
    layouts=frozenset({Layout.COLLECTION}),
    # The client of an index tries a request four times, each for 10 s, and waits up to 60 s in between; it cannot be
    # told not to. What Pinecone took it may still work off.
    settles_within_s=300.0,
    max_text_bytes=rows.MAX_TEXT_BYTES,
    max_metadata_bytes=rows.MAX_METADATA_BYTES,
    # A fetch says nothing of how far it has seen, and a list neither.
    strong_reads=False,
)
_PLACE = re.compile(r"(?P<cloud>aws|gcp|azure)/(?P<region>[a-z0-9-]+)")
_PAGE = 100


class PineconeStore:
    """A store in the serverless indexes of a Pinecone project, one for each collection.

    A write is acknowledged when a query has seen it and a fetch has brought it, which other readers may not have yet:
    Pinecone promises no order among them.
    """

    def __init__(
        self,
        place: str,
        *,
        api_key: str | None = None,
        controller: str = "https://api.pinecone.io",
        namespace: str = "",
        confirm_s: float = 20.0,
        ready_s: float = 120.0,
        listing_s: float = 60.0,
    ) -> None:
        """Use a project; it is connected to by the first call.

        Args:
            place: `CLOUD/REGION`, such as `aws/us-east-1`, where indexes are made.
            api_key: from the variable or file that `api_key_env` or `api_key_file` names.
            controller: who makes indexes and knows where they are; another one for a gateway or a local imitation.
            namespace: the namespace of each index that is read and written; the default one if empty.
            confirm_s: how long a write may take until it is seen by a query and by a fetch.
            ready_s: how long an index may take until it is there, or gone.
            listing_s: how old the list of ids may be that a scan goes by, because Pinecone has no order of ids.

        Raises:
            BadConfig: the address is not one.
            BadArgument: a setting has a value that it cannot have.
        """
        found = _PLACE.fullmatch(place)
        if found is None:
            raise BadConfig(
                f"pinecone:{place} does not say where indexes are made", hint="write it as pinecone:aws/us-east-1"
            )
        if not re.fullmatch(r"https?://[^\s/@]+", controller):
            raise BadConfig("controller of store pinecone is no address", hint='controller = "https://HOST"')
        for name, value, least, most in (
            ("confirm_s", confirm_s, 0, 3600),
            ("ready_s", ready_s, 0, 3600),
            ("listing_s", listing_s, 0, 3600),
        ):
            require_within(name, value, least, most)
        self._session = Session(controller, api_key or "")
        self._indexes = Indexes(self._session, cloud=found["cloud"], region=found["region"], ready_s=ready_s)
        self._namespace = namespace
        self._confirm_s = float(confirm_s)
        self._listing_s = float(listing_s)
        self._listings = Listings(time.monotonic, self._listing_s)

    @property
    def capabilities(self) -> StoreCapabilities:
        """What this adapter can do."""
        return replace(_CAPABILITIES, scans_lag_s=self._listing_s)

    def create(self, field: VectorField, *, dimensions: int, metric: Metric) -> None:
        """Make an empty collection."""
        self._indexes.create(field, dimensions=dimensions, metric=metric)
        self._listings.forget(field.collection)

    def drop(self, field: VectorField) -> None:
        """Delete a collection with everything in it; one that is not there is no error."""
        self._indexes.drop(field)
        self._listings.forget(field.collection)

    def describe(self, field: VectorField) -> FieldDescription | None:
        """Return what the store knows about a field."""
        found = self._indexes.known.find(field)
        if found is None:
            return None
        try:
            count = self._reader(field, found).count()
        except CollectionMissing:
            return None
        return FieldDescription(dimensions=found.dimensions, metric=found.metric, count=count)

    def upsert(self, field: VectorField, records: Sequence[Record]) -> None:
        """Insert the records, replacing those with the same id whole."""
        if not records:
            return
        ids = [record.id for record in records]

        def write(found: Found, reader: Reader) -> None:
            writer = self._writer(found, reader)
            made = writer.rows(records)
            with self._session.locks.hold(ids):
                writer.put(ids, made)

        self._on(field, write)
        self._listings.written(field.collection, ids)

    def delete(self, field: VectorField, ids: Sequence[DocumentId], *, filter: Filter | None = None) -> None:
        """Delete records by id, those only that match the filter if there is one."""
        condition, wanted = condition_of(filter), list(dict.fromkeys(ids))
        if not wanted:
            return

        def write(found: Found, reader: Reader) -> list[DocumentId]:
            with self._session.locks.hold(wanted):
                gone = wanted
                if condition is not None:
                    there = reader.by_id(wanted)
                    gone = [id for id in wanted if id in there and matches(condition, rows.metadata_of(there[id]))]
                if gone:
                    self._writer(found, reader).take_out(gone)
                return gone

        self._listings.deleted(field.collection, self._on(field, write))

    def merge_metadata(self, field: VectorField, changes: Mapping[DocumentId, Metadata], *, sequence: int) -> None:
        """Put the given keys into the metadata of existing records, and set the tag's sequence."""
        for id, change in changes.items():
            encode_metadata(id, change)
        if not changes:
            return

        def write(found: Found, reader: Reader) -> None:
            with self._session.locks.hold(changes):
                there = reader.by_id(list(changes))
                merged = {id: {**rows.metadata_of(one), **changes[id]} for id, one in there.items()}
                if merged:
                    self._writer(found, reader).change(merged, sequence=sequence)

        self._on(field, write)

    def fetch(self, field: VectorField, ids: Sequence[DocumentId]) -> dict[DocumentId, Record]:
        """Return the records with their vectors, as they were at some time since the last write of this process."""
        there = self._on(field, lambda _, reader: reader.by_id(ids), asks=bool(ids))
        return {id: rows.record_from(one) for id, one in there.items()}

    def entries(
        self, field: VectorField, ids: Sequence[DocumentId], parts: Part = Part.TEXT
    ) -> dict[DocumentId, Entry]:
        """Return the records without their vectors, which Pinecone sends all the same."""
        there = self._on(field, lambda _, reader: reader.by_id(ids), asks=bool(ids))
        return {id: rows.entry_from(one, parts) for id, one in there.items()}

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

        def read(_: Found, reader: Reader) -> list[Any]:
            found = self._matching(field, reader, condition, after=after, until=until, limit=limit)
            return list(islice(found, limit))

        return [rows.entry_from(one, parts) for one in self._on(field, read)]

    def ids(self, field: VectorField, *, after: str = "", limit: int) -> list[DocumentId]:
        """Return the next ids in order, at most `limit`."""
        return [entry.id for entry in self.scan(field, after=after, limit=limit)]

    def count(self, field: VectorField, filter: Filter | None = None) -> int:
        """Return how many records there are, or how many match the filter."""
        condition = condition_of(filter)

        def read(_: Found, reader: Reader) -> int:
            return reader.count() if condition is None else sum(1 for _ in reader.matching(condition))

        return self._on(field, read)

    def search(self, field: VectorField, vector: Vector, *, k: int, filter: Filter | None = None) -> list[Hit]:
        """Return the k nearest records that match the filter, best first."""
        require_positive("k", k)
        theirs = native(filter)
        condition = None if theirs is not None else condition_of(filter)

        def read(found: Found, reader: Reader) -> list[tuple[float, Any]]:
            query = checked_query(vector, dimensions=found.dimensions, metric=found.metric)
            return reader.nearest(query, k=k, condition=condition, theirs=theirs)

        hits = [rows.hit_from(one, score) for score, one in self._on(field, read)]
        return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:k]

    def close(self) -> None:
        """Close the connections of this process; a later call opens them again."""
        self._session.close()

    def _reader(self, field: VectorField, found: Found) -> Reader:
        return Reader(self._session, found, own_name(field.collection), self._namespace)

    def _writer(self, found: Found, reader: Reader) -> Writer:
        return Writer(self._session, found, reader, namespace=self._namespace, confirm_s=self._confirm_s)

    def _matching(
        self,
        field: VectorField,
        reader: Reader,
        condition: Condition | None,
        *,
        after: str,
        until: str | None,
        limit: int,
    ) -> Iterator[Any]:
        """Yield what is there and matches in the order of the ids; more than the limit, if asked."""
        size = max(limit, _PAGE)
        for page in self._listings.pages(field.collection, reader.everybody, after, until, size):
            there = reader.by_id(page)
            for id in page:
                if id in there and (condition is None or matches(condition, rows.metadata_of(there[id]))):
                    yield there[id]

    def _on(self, field: VectorField, work: Callable[[Found, Reader], _T], *, asks: bool = True) -> _T:
        """Do something with a collection; if a collection that is gone would not be noticed, it is looked up first."""
        return self._indexes.known.on(
            field,
            lambda found: work(found, self._reader(field, found)),
            asks=asks,
            changed=lambda field: self._listings.forget(field.collection),
        )
