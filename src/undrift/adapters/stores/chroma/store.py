"""Vectors in Chroma."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from undrift.adapters.asked import condition_of, require_dimensions, require_positive, require_within
from undrift.adapters.listing import Listings
from undrift.adapters.stores.chroma.client import WRITE_S
from undrift.adapters.stores.chroma.places import Folder, place_from
from undrift.adapters.stores.chroma.reading import entry
from undrift.adapters.stores.chroma.searching import Sought, sought
from undrift.adapters.stores.chroma.session import (
    DIMENSIONS_KEY,
    FORMAT,
    FORMAT_KEY,
    METRIC_KEY,
    SPACES,
    Found,
    checked_shape,
    require_name,
)
from undrift.adapters.stores.chroma.writing import Writer
from undrift.domain.cost import Footprint
from undrift.domain.filter import native
from undrift.domain.names import NameRule
from undrift.domain.record import DocumentId, Entry, Hit, Metadata, Record, Vector
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.errors import CollectionMissing
from undrift.ports.store import FieldDescription, Filter, Layout, Part, StoreCapabilities

#: The longest vector that was tried; Chroma itself names no limit.
_MOST_DIMENSIONS = 8192
#: How many records are looked at for a page that a filter leaves something out of, at least.
_LEAST_PAGE = 256


class ChromaStore(Writer):
    """A store in a Chroma server, for many processes; or in a folder, for one.

    Chroma writes without conditions and without transactions: a call of many records becomes visible piece by piece.
    See `rows` for how a record is replaced whole, and its metadata changed, all the same.
    """

    def __init__(
        self,
        place: str,
        *,
        tenant: str = "default_tenant",
        database: str = "default_database",
        ssl: bool = False,
        api_key: str | None = None,
        api_key_header: str = "X-Chroma-Token",
        hnsw_m: int = 16,
        hnsw_ef_construction: int = 100,
        hnsw_ef_search: int = 200,
        listing_s: float = 10.0,
    ) -> None:
        """Use a server or a folder as a store; it is connected to by the first call.

        Args:
            place: `//HOST:PORT` of a server, or a folder.
            tenant: the tenant in that Chroma.
            database: the database of the tenant.
            ssl: whether the server is spoken to through TLS.
            api_key: the token that the server wants; it comes from the environment or a file.
            api_key_header: the header that the token goes into: `X-Chroma-Token`, or `Authorization`.
            hnsw_m: connections of a vector in the index of a collection that is made.
            hnsw_ef_construction: how many candidates are looked at when a vector is put into the index.
            hnsw_ef_search: how many candidates a search looks at.
            listing_s: how old, in seconds, the list of ids may be that a scan goes by: Chroma keeps no order of ids.

        Raises:
            BadConfig: the address is not one, or has a password in it.
            BadArgument: a setting has a value that it cannot have.
        """
        for name, value, least, most in (
            ("hnsw_m", hnsw_m, 2, 1000),
            ("hnsw_ef_construction", hnsw_ef_construction, 4, 10_000),
            ("hnsw_ef_search", hnsw_ef_search, 1, 10_000),
            ("listing_s", listing_s, 0, 3600),
        ):
            require_within(name, value, least, most)
        where = place_from(place, ssl=ssl, token=api_key, token_header=api_key_header)
        super().__init__(where, tenant=tenant, database=database)
        self._hnsw = {
            "hnsw:M": hnsw_m,
            "hnsw:construction_ef": hnsw_ef_construction,
            "hnsw:search_ef": hnsw_ef_search,
        }
        self._listings = Listings(time.monotonic, listing_s)
        self._capabilities = StoreCapabilities(
            name="chroma",
            names=NameRule(letter_first=True),
            metrics=frozenset(SPACES),
            max_dimensions=_MOST_DIMENSIONS,
            layouts=frozenset({Layout.COLLECTION}),
            # A request is given up after 5 s without a connection, or WRITE_S without an answer. The server knows no
            # deadline: what it has taken in by then it may still do, one write after another, so as long once more.
            settles_within_s=2.0 * WRITE_S,
            # A folder is read and written by this process itself.
            requests_die_with_process=isinstance(where, Folder),
            # Nobody else writes to a folder, and what this process writes is put into the list at once.
            scans_lag_s=0.0 if isinstance(where, Folder) else listing_s,
            footprint=Footprint(
                per_vector=140,
                basis="hnswlib: four bytes a dimension, and about 140 of links (M = 16); its log comes on top",
            ),
        )

    @property
    def capabilities(self) -> StoreCapabilities:
        """What this adapter can do."""
        return self._capabilities

    def create(self, field: VectorField, *, dimensions: int, metric: Metric) -> None:
        """Make an empty collection, in the shape that its address names.

        Raises:
            FieldInUse: a collection of that name is there.
            BadArgument: Chroma takes no such name, or no such vectors.
        """
        name, shape = checked_shape(field)
        require_name(name)
        require_dimensions(name, dimensions, most=_MOST_DIMENSIONS, who="store chroma")
        own = not shape.preset and not shape.text
        space = "l2" if own and metric is Metric.COSINE else SPACES[metric]
        described: dict[str, Any] = {DIMENSIONS_KEY: dimensions, METRIC_KEY: metric.value}
        if own:
            described[FORMAT_KEY] = FORMAT
        self._listings.forget(name)
        # Without a configuration: with one, Chroma's client writes down an embedding function of an old kind, of which
        # it warns whoever opens the collection later.
        described |= {"hnsw:space": space, **self._hnsw}
        self.ask(field, lambda client: client.create(name, metadata=described), writing=True)

    def drop(self, field: VectorField) -> None:
        """Delete a collection with everything in it; under a name without a shape, one of undrift's own only."""
        found = self.find(field)
        if found is None:
            return
        name = checked_shape(field)[0]
        try:
            self.ask(field, lambda client: client.drop(name), writing=True)
        except CollectionMissing:
            # Somebody else was first.
            pass
        finally:
            self._listings.forget(_key(found))
            self.find(field)

    def describe(self, field: VectorField) -> FieldDescription | None:
        """Return what the store knows about a field; no dimensions where nothing was ever written."""
        found = self.find(field)
        if found is None:
            return None
        try:
            count = self.total(field, found)
        except CollectionMissing:
            return None
        return FieldDescription(dimensions=found.dimensions, metric=found.metric, count=count)

    def upsert(self, field: VectorField, records: Sequence[Record]) -> None:
        """Insert the records, replacing those with the same id whole."""
        self._put(field, records, replace=True)

    def insert_absent(self, field: VectorField, records: Sequence[Record]) -> None:
        """Insert those records whose ids are not there yet: Chroma leaves the others alone."""
        self._put(field, records, replace=False)

    def delete(self, field: VectorField, ids: Sequence[DocumentId], *, filter: Filter | None = None) -> None:
        """Delete records by id, those only that match the filter if there is one."""
        condition = condition_of(filter)

        def work(found: Found) -> None:
            if not ids:
                return
            asked = sought(found, condition)
            if asked is None:
                return
            gone = ids if condition is None else [one.id for one in self._of(field, found, ids, asked)]
            if gone:
                self.take_out(field, found, gone, asked.where)
                self._listings.deleted(_key(found), gone)

        self.on(field, work)

    def merge_metadata(self, field: VectorField, changes: Mapping[DocumentId, Metadata], *, sequence: int) -> None:
        """Put the given keys into the metadata of existing records, and set the tag's sequence."""
        self.on(field, lambda found: self.change(field, found, changes, sequence=sequence) if changes else None)

    def fetch(self, field: VectorField, ids: Sequence[DocumentId]) -> dict[DocumentId, Record]:
        """Return the records with their vectors."""
        return self.on(field, lambda found: self.whole(field, found, ids) if ids else self._nothing(field, found))

    def entries(
        self, field: VectorField, ids: Sequence[DocumentId], parts: Part = Part.TEXT
    ) -> dict[DocumentId, Entry]:
        """Return the records without their vectors."""
        return self.on(
            field,
            lambda found: (
                {one.id: one for one in self._of(field, found, ids, Sought(), parts)}
                if ids
                else self._nothing(field, found)
            ),
        )

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

        def work(found: Found) -> list[Entry]:
            asked = sought(found, condition)
            if asked is None:
                return []
            page: list[Entry] = []
            # Of what is looked at a filter leaves something out: not too little is looked at.
            many = limit if condition is None else max(limit, _LEAST_PAGE)
            for ids in self._in_order(field, found, asked, (after, until), many):
                page += self._of(field, found, ids, asked, parts)
                if len(page) >= limit:
                    break
            return page[:limit]

        return self.on(field, work)

    def ids(self, field: VectorField, *, after: str = "", limit: int) -> list[DocumentId]:
        """Return the next ids in order, at most `limit`."""
        require_positive("limit", limit)

        def work(found: Found) -> list[DocumentId]:
            page: list[DocumentId] = []
            for ids in self._in_order(field, found, Sought(), (after, None), limit):
                there = {id for id, _, _, _ in self.get(field, found, ids, ())}
                page += [id for id in ids if id in there]
                if len(page) >= limit:
                    break
            return page[:limit]

        return self.on(field, work)

    def count(self, field: VectorField, filter: Filter | None = None) -> int:
        """Return how many records there are, or how many match the filter."""
        condition = condition_of(filter)

        def work(found: Found) -> int:
            total = self.total(field, found)
            if not filter or condition is None:
                return total
            asked = sought(found, condition)
            return 0 if asked is None else len(self._of(field, found, self.matching(field, found, asked.where), asked))

        return self.on(field, work)

    def search(self, field: VectorField, vector: Vector, *, k: int, filter: Filter | None = None) -> list[Hit]:
        """Return the k nearest records that match the filter, best first."""
        require_positive("k", k)
        own = native(filter)
        condition = condition_of(filter) if own is None else None

        def work(found: Found) -> list[Hit]:
            asked = sought(found, condition, own)
            return [] if asked is None else self.nearest(field, found, vector, k=k, asked=asked)

        return self.on(field, work)

    def _put(self, field: VectorField, records: Sequence[Record], *, replace: bool) -> None:
        def work(found: Found) -> None:
            self.put(field, found, records, replace=replace)
            self._listings.written(_key(found), [record.id for record in records])

        if records:
            self.on(field, work)

    def _of(
        self, field: VectorField, found: Found, ids: Sequence[DocumentId], asked: Sought, parts: Part = Part.NONE
    ) -> list[Entry]:
        """Return those of some records that are there and asked for, in the order of their ids."""
        with_text = Part.TEXT in parts
        include = ("metadatas", "documents") if with_text else ("metadatas",)
        read = self.get(field, found, ids, include, where=asked.where)
        made = (entry(found, id, stored, document, with_text=with_text) for id, stored, document, _ in read)
        return sorted((one for one in made if asked.matches(one.metadata)), key=lambda one: one.id)

    def _in_order(
        self, field: VectorField, found: Found, asked: Sought, bounds: tuple[str, str | None], many: int
    ) -> Iterator[Sequence[DocumentId]]:
        """Return the ids of what may be asked for, in order and by the piece; some may be gone."""
        after, until = bounds
        if asked.where is not None:
            ids = self.matching(field, found, asked.where)
            some = sorted(id for id in ids if id > after and (until is None or id <= until))
            yield from (some[start : start + many] for start in range(0, len(some), many))
            return
        # A collection that is missing is said to be, also where a list of it is young enough.
        self.total(field, found)
        yield from self._listings.pages(_key(found), lambda: self.matching(field, found, None), after, until, many)

    def _nothing(self, field: VectorField, found: Found) -> dict[DocumentId, Any]:
        """Say that a collection is missing also when nothing is asked of it."""
        self.total(field, found)
        return {}


def _key(found: Found) -> str:
    """Return what a list is kept under: the number, because another collection may get the name."""
    return str(found.number)
