"""Vectors in a Weaviate server, or in a cluster of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

from undrift.adapters.asked import condition_of, require_positive, require_within
from undrift.adapters.listing import Listings
from undrift.adapters.place import place_from
from undrift.adapters.stores.weaviate import rows
from undrift.adapters.stores.weaviate.collections import MAX_DIMENSIONS, Collections, Found, Index
from undrift.adapters.stores.weaviate.conditions import among, asked, both
from undrift.adapters.stores.weaviate.reading import Reader
from undrift.adapters.stores.weaviate.session import Session
from undrift.adapters.stores.weaviate.writing import Writer
from undrift.domain.filter import Condition, matches, native
from undrift.domain.names import NameRule
from undrift.domain.record import DocumentId, Entry, Hit, Metadata, Record, Vector, encode_metadata
from undrift.domain.route import VectorField
from undrift.domain.shape import own_name
from undrift.domain.space import Metric
from undrift.domain.vectors import checked_query
from undrift.errors import BadArgument, BadFilter, CollectionMissing
from undrift.ports.store import FieldDescription, Filter, Layout, Part, StoreCapabilities

_T = TypeVar("_T")
_CAPABILITIES = StoreCapabilities(
    name="weaviate",
    names=NameRule(marks="_", letter_first=True),
    metrics=frozenset(Metric),
    max_dimensions=MAX_DIMENSIONS,
    # A vector beside another one would have to be written only if the text is still the same, which it cannot ask for.
    layouts=frozenset({Layout.COLLECTION}),
    # A request is given up by the client after 10 s and not sent again. Replicas are waited for 20 s by the server; how
    # long a request stands in its queues before that nobody limits, and we know of none that takes as long.
    settles_within_s=60.0,
)
_PAGE = 500


class WeaviateStore:
    """A store in a Weaviate server, 1.29 or newer.

    A record is an object whose UUID is made of its id. Every write is acknowledged by all replicas (`ALL`), so that
    whichever of them a search, a count or a listing asks has what was acknowledged. There is no condition on a write:
    a change of metadata is read and put in again under locks of this process.
    """

    def __init__(
        self,
        place: str,
        *,
        grpc_host: str = "",
        grpc_port: int = 0,
        api_key: str | None = None,
        index: str = "flat",
        hnsw_m: int = 32,
        hnsw_ef_construction: int = 128,
        hnsw_ef_search: int = -1,
        replicas: int | None = None,
        shards: int | None = None,
        follow_alias: bool = False,
        listing_s: float = 10.0,
    ) -> None:
        """Use a server; it is connected to by the first call.

        Args:
            place: `weaviate://HOST:PORT`, or `weaviates://HOST:PORT` over TLS: where REST is.
            grpc_host: where gRPC is, if it has a name of its own, as in Weaviate's cloud.
            grpc_port: its port; 50051, or 443 over TLS, if not given.
            api_key: from the variable or file that `api_key_env` or `api_key_file` names.
            index: `flat`, and a search compares with every record; or `hnsw`, and it is fast and may overlook some. It
                is made with a collection.
            hnsw_m: connections of a vector in each layer of the index.
            hnsw_ef_construction: how many candidates are looked at when a vector is put into the index.
            hnsw_ef_search: how many candidates a search in the index looks at; -1 lets the server decide.
            replicas: how many nodes keep an object of collections that are made; as the server says, if not given.
            shards: how many parts they have; as the server says, if not given.
            follow_alias: let an alias of the server, called as that of undrift, stand for the collection that serves,
                for other programs.
            listing_s: how old the list of ids may be that a scan goes by, because Weaviate has no order of ids.

        Raises:
            BadConfig: the address is not one, or has a password in it.
            BadArgument: a setting has a value that it cannot have.
        """
        if index not in {"flat", "hnsw"}:
            raise BadArgument(f"index is {index!r}; it can be flat or hnsw", hint='index = "hnsw"')
        for name, value, least, most in (
            ("hnsw_m", hnsw_m, 4, 2047),
            ("hnsw_ef_construction", hnsw_ef_construction, 4, 4096),
            ("hnsw_ef_search", hnsw_ef_search, -1, 4096),
            ("grpc_port", grpc_port, 0, 65_535),
            ("replicas", 1 if replicas is None else replicas, 1, 99),
            ("shards", 1 if shards is None else shards, 1, 9999),
            ("listing_s", listing_s, 0, 3600),
        ):
            require_within(name, value, least, most)
        scheme, _, rest = place.partition(":")
        tls = scheme == "weaviates"
        where = place_from(
            scheme, rest, port=443 if tls else 8080, tls=tls, ca_file="", user="", secret=api_key or None
        )
        self._session = Session(where, grpc_host, grpc_port or (443 if tls and grpc_host else 50051))
        self._collections = Collections(
            self._session,
            Index(
                method=index,
                m=hnsw_m,
                ef_construction=hnsw_ef_construction,
                ef_search=hnsw_ef_search,
                replicas=replicas,
                shards=shards,
            ),
        )
        self._follow_alias = follow_alias
        self._listing_s = float(listing_s)
        self._listings = Listings(time.monotonic, self._listing_s)

    @property
    def capabilities(self) -> StoreCapabilities:
        """What this adapter can do."""
        return replace(_CAPABILITIES, scans_lag_s=self._listing_s)

    def create(self, field: VectorField, *, dimensions: int, metric: Metric) -> None:
        """Make an empty collection."""
        self._collections.create(field, dimensions=dimensions, metric=metric)
        self._listings.forget(field.collection)

    def drop(self, field: VectorField) -> None:
        """Delete a collection with everything in it; one that is not there is no error."""
        self._collections.drop(field)
        self._listings.forget(field.collection)

    def point(self, name: str, field: VectorField) -> None:
        """Let an alias of the server stand for a collection from now on, if `follow_alias` is set."""
        if self._follow_alias:
            self._collections.point(name, self._collections.known.get(field, fresh=True))

    def describe(self, field: VectorField) -> FieldDescription | None:
        """Return what the store knows about a field."""
        found = self._collections.known.find(field)
        if found is None:
            return None
        try:
            count = self._reader(field, found).count(None)
        except CollectionMissing:
            return None
        return FieldDescription(dimensions=found.dimensions, metric=found.metric, count=count)

    def upsert(self, field: VectorField, records: Sequence[Record]) -> None:
        """Insert the records, replacing those with the same id whole."""
        if not records:
            return
        # A write to a collection that is not there would make one, unless the server was told otherwise.
        found = self._collections.known.get(field, fresh=True)
        ids = [record.id for record in records]
        writer = Writer(self._session, found, own_name(field.collection))
        objects = writer.objects(records)
        with self._session.locks.hold(ids):
            writer.put(objects)
        self._listings.written(field.collection, ids)

    def delete(self, field: VectorField, ids: Sequence[DocumentId], *, filter: Filter | None = None) -> None:
        """Delete records by id, those only that match the filter if there is one."""
        condition, wanted = condition_of(filter), list(dict.fromkeys(ids))
        if not wanted:
            return
        found = self._collections.known.get(field, fresh=True)
        theirs, exact = asked(condition, knows_not=condition is None or self._session.knows_not())
        reader = self._reader(field, found)
        writer = Writer(self._session, found, own_name(field.collection))
        with self._session.locks.hold(wanted):
            if condition is not None and not exact:
                there = reader.by_id(wanted, Part.NONE)
                wanted = [id for id in wanted if id in there and matches(condition, rows.metadata_of(there[id]))]
            for start in range(0, len(wanted), _PAGE):
                page = wanted[start : start + _PAGE]
                writer.take_out(both(among(page), theirs) if exact else among(page))
        if theirs is None:
            # Which of them a filter of the server's spared, it does not say; a scan looks whether they are there.
            self._listings.deleted(field.collection, wanted)

    def merge_metadata(self, field: VectorField, changes: Mapping[DocumentId, Metadata], *, sequence: int) -> None:
        """Put the given keys into the metadata of existing records, and set the tag's sequence."""
        for id, change in changes.items():
            encode_metadata(id, change)
        if not changes:
            return
        found = self._collections.known.get(field, fresh=True)
        reader = self._reader(field, found)
        writer = Writer(self._session, found, own_name(field.collection))
        with self._session.locks.hold(changes):
            for id, result in reader.by_id(list(changes), Part.NONE).items():
                writer.change(id, {**rows.metadata_of(result), **changes[id]}, sequence=sequence)

    def fetch(self, field: VectorField, ids: Sequence[DocumentId]) -> dict[DocumentId, Record]:
        """Return the records with their vectors."""
        results = self._on(field, lambda _, reader: reader.by_id(ids, Part.TEXT, with_vector=True), asks=bool(ids))
        return {id: record for id, one in results.items() if (record := rows.record_from(one)) is not None}

    def entries(
        self, field: VectorField, ids: Sequence[DocumentId], parts: Part = Part.TEXT
    ) -> dict[DocumentId, Entry]:
        """Return the records without their vectors."""
        results = self._on(field, lambda _, reader: reader.by_id(ids, parts), asks=bool(ids))
        return {id: rows.entry_from(one, parts) for id, one in results.items()}

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
        found = self._on(
            field,
            lambda _, reader: list(
                islice(
                    self._matching(field, reader, condition, after=after, until=until, limit=limit, parts=parts), limit
                )
            ),
        )
        return [rows.entry_from(one, parts) for one in found]

    def ids(self, field: VectorField, *, after: str = "", limit: int) -> list[DocumentId]:
        """Return the next ids in order, at most `limit`."""
        return [entry.id for entry in self.scan(field, after=after, limit=limit)]

    def count(self, field: VectorField, filter: Filter | None = None) -> int:
        """Return how many records there are, or how many match the filter."""
        condition = condition_of(filter)
        return self._on(field, lambda _, reader: reader.count(condition))

    def search(self, field: VectorField, vector: Vector, *, k: int, filter: Filter | None = None) -> list[Hit]:
        """Return the k nearest records that match the filter, best first."""
        require_positive("k", k)
        theirs = native(filter)
        condition = None if theirs is not None else condition_of(filter)

        def read(found: Found, reader: Reader) -> list[tuple[float, Any]]:
            query = checked_query(vector, dimensions=found.dimensions, metric=found.metric)
            if theirs is not None:
                return reader.native(query, k=k, filters=_own_filter(theirs))
            return reader.nearest(query, k=k, condition=condition)

        hits = [rows.hit_from(result, score) for score, result in self._on(field, read)]
        return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:k]

    def close(self) -> None:
        """Close the connections of this process; a later call opens them again."""
        self._session.close()

    def _reader(self, field: VectorField, found: Found) -> Reader:
        return Reader(self._session, found, own_name(field.collection))

    def _matching(
        self,
        field: VectorField,
        reader: Reader,
        condition: Condition | None,
        *,
        after: str,
        until: str | None,
        limit: int,
        parts: Part,
    ) -> Iterator[Any]:
        """Yield objects that are there and match in the order of their ids; more than the limit, if asked."""

        def listed() -> Iterator[DocumentId]:
            return (rows.id_of(one) for one in reader.everything(Part.NONE))

        size = max(min(limit, _PAGE), 100)
        for page in self._listings.pages(field.collection, listed, after, until, size):
            results = reader.by_id(page, parts)
            for id in page:
                if id in results and (condition is None or matches(condition, rows.metadata_of(results[id]))):
                    yield results[id]

    def _on(self, field: VectorField, work: Callable[[Found, Reader], _T], *, asks: bool = True) -> _T:
        """Do something with a collection; if a collection that is gone would not be noticed, it is looked up first."""
        return self._collections.known.on(
            field,
            lambda found: work(found, self._reader(field, found)),
            asks=asks,
            changed=lambda field: self._listings.forget(field.collection),
        )


def _own_filter(theirs: Any) -> Any:
    """Return a filter that the client's `Filter` made as the message that gRPC has of it.

    Raises:
        BadFilter: it is something else.
    """
    from weaviate.collections.classes.filters import _Filters
    from weaviate.collections.filters import _FilterToGRPC

    if not isinstance(theirs, _Filters):
        raise BadFilter(
            "a filter of Weaviate's own is made with weaviate.classes.query.Filter",
            hint='{"$native": Filter.by_property("space").equal("...")}',
        )
    return _FilterToGRPC.convert(theirs)
