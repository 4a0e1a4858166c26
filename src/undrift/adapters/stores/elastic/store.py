"""Vectors in an Elasticsearch or OpenSearch cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from undrift.adapters.asked import condition_of, require_positive, require_within
from undrift.adapters.clock import SystemClock
from undrift.adapters.listing import Listings
from undrift.adapters.stores.elastic.collections import Collections, Found
from undrift.adapters.stores.elastic.conditions import query_of
from undrift.adapters.stores.elastic.dialects import Dialect, Index
from undrift.adapters.stores.elastic.documents import (
    change,
    deletion,
    entry_from,
    fields,
    hit_from,
    lines,
    metadata_fields,
    metadata_of,
    record_from,
    tagging,
    text_of,
)
from undrift.adapters.stores.elastic.reading import Reading
from undrift.adapters.stores.elastic.wire import Wire
from undrift.adapters.stores.elastic.writing import Writing
from undrift.domain.cost import Footprint
from undrift.domain.filter import Condition, matches, native
from undrift.domain.names import NameRule
from undrift.domain.record import DocumentId, Entry, Hit, Metadata, Record, Vector, encode_metadata
from undrift.domain.route import VectorField
from undrift.domain.shape import split_address
from undrift.domain.space import Metric
from undrift.domain.vectors import checked_query, stacked
from undrift.errors import BadArgument, CollectionMissing, StoreRejected, UndriftError
from undrift.ports.store import FieldDescription, Filter, Layout, Part, StoreCapabilities

#: A request is given up by the client after 10 s, and the cluster waits 10 s for a shard; how long it may stand in a
#: queue of the cluster nobody limits; we know of none that takes a minute.
_SETTLES_WITHIN_S = 60.0
_CONFLICT, _GONE = 409, 404
#: Documents that are read at a time from a list of ids.
_PAGE = 500


class ElasticStore:
    """Records as documents, collections as indexes; what both engines have in common.

    A write is acknowledged when it is in the log of every copy of its shard, and reads by id look into that log. What
    searches, counts and scans see is brought up to date before they begin, unless `refresh` says otherwise.
    """

    def __init__(
        self,
        dialect: Dialect,
        wire: Wire,
        *,
        index: Index,
        refresh: str,
        follow_alias: bool,
        listing_s: float,
        shards: int | None,
        replicas: int | None,
    ) -> None:
        """Use a cluster, which is connected to by the first call."""
        for name, chosen, choices in (("index", index.method, ("hnsw", "none")), ("refresh", refresh, _REFRESHES)):
            if chosen not in choices:
                raise BadArgument(
                    f"{name} is {chosen!r}; it can be {' or '.join(choices)}", hint=f'{name} = "{choices[0]}"'
                )
        for name, value, least, most in (
            ("hnsw_m", index.m, 2, 512),
            ("hnsw_ef_construction", index.ef_construction, 2, 3200),
            ("hnsw_ef_search", index.ef_search, 1, 10_000),
            ("listing_s", listing_s, 0, 3600),
            ("shards", 1 if shards is None else shards, 1, 1024),
            ("replicas", 0 if replicas is None else replicas, 0, 64),
        ):
            require_within(name, value, least, most)
        self._capabilities = StoreCapabilities(
            name=dialect.name,
            names=NameRule(capitals=False, letter_first=True),
            metrics=frozenset(Metric),
            max_dimensions=dialect.max_dimensions,
            layouts=frozenset({Layout.COLLECTION}),
            settles_within_s=_SETTLES_WITHIN_S,
            scans_lag_s=listing_s,
            footprint=Footprint(
                per_vector=64,
                basis="Elastic's tuning guide: four bytes a dimension, and 64 for HNSW (m = 16); `_source` on top",
            ),
        )
        self._follows = follow_alias
        self._refreshes_search = refresh == "search"
        self._wire = wire
        self._collections = Collections(wire, dialect, index, shards=shards, replicas=replicas)
        self._reading = Reading(wire, dialect, index)
        self._writing = Writing(wire)
        self._listings = Listings(SystemClock().monotonic, listing_s)

    @property
    def capabilities(self) -> StoreCapabilities:
        """What this adapter can do."""
        return self._capabilities

    def create(self, field: VectorField, *, dimensions: int, metric: Metric) -> None:
        """Make an empty collection."""
        self._collections.create(field, dimensions=dimensions, metric=metric)
        self._listings.forget(split_address(field.collection)[0])

    def drop(self, field: VectorField) -> None:
        """Delete a collection with everything in it; an index that is not undrift's is refused."""
        self._collections.drop(field)
        self._listings.forget(split_address(field.collection)[0])

    def describe(self, field: VectorField) -> FieldDescription | None:
        """Return what the store knows about a field."""
        found = self._collections.find(field)
        if found is None:
            return None
        try:
            self._reading.refresh(found)
            count = self._reading.count(found, None)
        except CollectionMissing:
            return None
        return FieldDescription(dimensions=found.dimensions, metric=found.metric, count=count)

    def upsert(self, field: VectorField, records: Sequence[Record]) -> None:
        """Insert the records, replacing those with the same id whole."""
        self._write(field, records, "index", frozenset())

    def insert_absent(self, field: VectorField, records: Sequence[Record]) -> None:
        """Insert those records whose ids are not there yet."""
        self._write(field, records, "create", frozenset({_CONFLICT}))

    def point(self, name: str, field: VectorField) -> None:
        """Let an alias of the engine stand for what an alias of undrift serves, if the store's settings say so."""
        if self._follows:
            self._collections.point(name, self._collections.get(field))

    def tag(self, field: VectorField, entries: Sequence[Entry]) -> set[DocumentId]:
        """Give records the tags of the entries, as long as they have their texts."""
        wanted = {entry.id: entry for entry in entries if entry.tag is not None}
        if not wanted:
            return set()
        found = self._collections.get(field)
        named = fields(found.places, Part.TEXT)

        def line(document: Mapping[str, Any]) -> bytes | None:
            entry = wanted[DocumentId(document["_id"])]
            if entry.tag is None or text_of(found.places, document["_source"]) != entry.text:
                return None
            return tagging(found.places, entry.id, entry.tag, at=document)

        return self._writing.conditionally(
            found, list(wanted), lambda left: self._reading.by_id(found, left, named), line
        )

    def delete(self, field: VectorField, ids: Sequence[DocumentId], *, filter: Filter | None = None) -> None:
        """Delete records by id, those only that match the filter if there is one."""
        condition, wanted = condition_of(filter), list(dict.fromkeys(ids))
        if not wanted:
            return
        found = self._collections.get(field)
        if condition is None:
            self._writing.send(found, [deletion(id) for id in wanted], allowed=frozenset({_GONE}))
            self._listings.deleted(found.name, wanted)
            return
        named = metadata_fields(found.places)

        def line(document: Mapping[str, Any]) -> bytes | None:
            is_meant = matches(condition, metadata_of(found.places, document["_source"]))
            return deletion(DocumentId(document["_id"]), document) if is_meant else None

        self._writing.conditionally(found, wanted, lambda left: self._reading.by_id(found, left, named), line)

    def merge_metadata(self, field: VectorField, changes: Mapping[DocumentId, Metadata], *, sequence: int) -> None:
        """Put the given keys into the metadata of existing records, and set the tag's sequence."""
        for id, one in changes.items():
            encode_metadata(id, one)
        if not changes:
            return
        found = self._collections.get(field)
        named = metadata_fields(found.places)

        def line(document: Mapping[str, Any]) -> bytes:
            id = DocumentId(document["_id"])
            return change(found.places, id, changes[id], sequence=sequence, at=document)

        self._writing.conditionally(found, list(changes), lambda left: self._reading.by_id(found, left, named), line)

    def fetch(self, field: VectorField, ids: Sequence[DocumentId]) -> dict[DocumentId, Record]:
        """Return the records with their vectors."""
        found = self._collections.get(field)
        named = fields(found.places, Part.TEXT, with_vector=True)
        documents = self._reading.by_id(found, ids, named)
        read = [record_from(found.places, one["_id"], one["_source"]) for one in documents]
        return {record.id: record for record in read if record is not None}

    def entries(
        self, field: VectorField, ids: Sequence[DocumentId], parts: Part = Part.TEXT
    ) -> dict[DocumentId, Entry]:
        """Return the records without their vectors."""
        found = self._collections.get(field)
        documents = self._reading.by_id(found, ids, fields(found.places, parts))
        read = [entry_from(found.places, one["_id"], one["_source"], parts) for one in documents]
        return {entry.id: entry for entry in read}

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
        found = self._seen(field)
        return list(islice(self._matching(found, condition, after=after, until=until, limit=limit, parts=parts), limit))

    def ids(self, field: VectorField, *, after: str = "", limit: int) -> list[DocumentId]:
        """Return the next ids in order, at most `limit`."""
        require_positive("limit", limit)
        found = self._seen(field)
        if not found.is_own:
            return list(self._listed(found, after=after, until=None)[:limit])
        documents = self._reading.in_order(found, None, after=after, until=None, limit=limit, parts=None)
        return [DocumentId(one["_id"]) for one in islice(documents, limit)]

    def count(self, field: VectorField, filter: Filter | None = None) -> int:
        """Return how many records there are, or how many match the filter."""
        condition = condition_of(filter)
        found = self._seen(field)
        query, exact = query_of(condition, found.places)
        if exact:
            return self._reading.count(found, query)
        return sum(1 for _ in self._matching(found, condition, after="", until=None, limit=1000, parts=Part.NONE))

    def search(self, field: VectorField, vector: Vector, *, k: int, filter: Filter | None = None) -> list[Hit]:
        """Return the k nearest records that match the filter, best first."""
        require_positive("k", k)
        theirs = native(filter)
        condition = None if theirs is not None else condition_of(filter)
        found = self._seen(field) if self._refreshes_search else self._collections.get(field)
        query = checked_query(vector, dimensions=found.dimensions, metric=found.metric)
        bound, exact = (theirs, True) if theirs is not None else query_of(condition, found.places)

        def accepts(source: Mapping[str, Any]) -> bool:
            return condition is None or matches(condition, metadata_of(found.places, source))

        nearest = self._reading.nearest(found, query, bound, k=k, accepts=None if exact else accepts)
        return [hit_from(found.places, hit["_id"], hit["_source"], score) for score, hit in nearest]

    def close(self) -> None:
        """Close the connections of this process; a later call opens them again."""
        self._wire.close()

    def _write(self, field: VectorField, records: Sequence[Record], action: str, allowed: frozenset[int]) -> None:
        if not records:
            return
        found = self._collections.get(field)
        try:
            block = stacked(records, dimensions=found.dimensions, metric=found.metric)
            if len({record.id for record in records}) != len(records):
                raise StoreRejected("one call has two records of the same id", "nothing of it was written")
            self._writing.send(found, lines(found.places, records, block, action), allowed=allowed)
            self._listings.written(found.name, [record.id for record in records])
        except UndriftError:
            # It may be another index by now, of the same name.
            self._collections.forget(field)
            raise

    def _seen(self, field: VectorField) -> Found:
        """Return a collection whose searches and counts see everything that was acknowledged."""
        found = self._collections.get(field)
        self._reading.refresh(found)
        return found

    def _matching(
        self, found: Found, condition: Condition | None, *, after: str, until: str | None, limit: int, parts: Part
    ) -> Iterator[Entry]:
        """Yield entries in the order of their ids; more than the limit, if they are asked for."""
        query, exact = query_of(condition, found.places)
        if not found.is_own:
            yield from self._matching_listed(found, condition, after=after, until=until, limit=limit, parts=parts)
            return
        for one in self._reading.in_order(found, query, after=after, until=until, limit=limit, parts=parts):
            entry = entry_from(found.places, one["_id"], one["_source"], parts)
            if exact or condition is None or matches(condition, entry.metadata):
                yield entry

    def _matching_listed(
        self, found: Found, condition: Condition | None, *, after: str, until: str | None, limit: int, parts: Part
    ) -> Iterator[Entry]:
        """Yield entries of an index that keeps no order of its ids."""
        ids = self._listed(found, after=after, until=until)
        size = min(limit, _PAGE)
        for start in range(0, len(ids), size):
            documents = self._reading.by_id(found, ids[start : start + size], fields(found.places, parts))
            # What somebody else deleted may still be in the list.
            for one in sorted(documents, key=lambda one: str(one["_id"])):
                entry = entry_from(found.places, one["_id"], one["_source"], parts)
                if condition is None or matches(condition, entry.metadata):
                    yield entry

    def _listed(self, found: Found, *, after: str, until: str | None) -> Sequence[DocumentId]:
        return self._listings.after(found.name, lambda: self._reading.every_id(found), after, until)


_REFRESHES = ("search", "scan")
