"""Vectors in a Redis server that has the query engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from undrift.adapters.asked import condition_of, require_positive, require_within
from undrift.adapters.place import place_from
from undrift.adapters.stores.redis.collections import MAX_DIMENSIONS, Collections, Found, Index
from undrift.adapters.stores.redis.rows import (
    entry_from,
    fields,
    hit_from,
    metadata_of,
    metadata_pairs,
    pairs,
    record_from,
    vector_of,
)
from undrift.adapters.stores.redis.searching import EVERYTHING, NOTHING, candidates, query_of
from undrift.adapters.stores.redis.session import Session, database_from
from undrift.domain.cost import Footprint
from undrift.domain.filter import Condition, matches, native
from undrift.domain.record import DocumentId, Entry, Hit, Metadata, Record, Vector, encode_metadata
from undrift.domain.relaxation import relaxed
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.domain.terms import answers
from undrift.domain.vectors import checked_query, scores, stacked
from undrift.errors import BadArgument, StoreRejected, UndriftError
from undrift.ports.store import FieldDescription, Filter, Layout, Part, StoreCapabilities

_CAPABILITIES = StoreCapabilities(
    name="redis",
    metrics=frozenset(Metric),
    max_dimensions=MAX_DIMENSIONS,
    layouts=frozenset({Layout.COLLECTION}),
    # A command is given up by the client after 10 s. How long it may stand behind a slow one nobody limits; we know of
    # none that takes a minute.
    settles_within_s=60.0,
    footprint=Footprint(per_dimension=8, basis="four bytes a dimension in the index, which are in the hash once more"),
)
#: Documents of one transaction.
_PAGE = 500


class RedisStore:
    """A store in one Redis server, or in the primary one of several: a collection is not spread over a cluster.

    A document is a hash. A sorted set beside them keeps the ids in order, and every write changes both in one
    transaction, which is undone when the collection is dropped meanwhile. How durable an acknowledged write is, the
    server's settings say (`appendonly`, `appendfsync`).
    """

    def __init__(
        self,
        place: str,
        *,
        tls: bool = False,
        ca_file: str = "",
        user: str = "",
        api_key: str | None = None,
        index: str = "flat",
        hnsw_m: int = 16,
        hnsw_ef_construction: int = 200,
        hnsw_ef_search: int = 100,
    ) -> None:
        """Use a server; it is connected to by the first call.

        Args:
            place: `//HOST:PORT` or `//HOST:PORT/DATABASE`.
            tls: ask over TLS.
            ca_file: certificates to check the server's own with, instead of those of the system.
            user: who asks; without one, the default user.
            api_key: the password, from the variable or file that `api_key_env` or `api_key_file` names.
            index: `flat`, and a search compares with every record; or `hnsw`, and it is fast and may overlook some. It
                is made with a collection.
            hnsw_m: connections of a vector in each layer of the index.
            hnsw_ef_construction: how many candidates are looked at when a vector is put into the index.
            hnsw_ef_search: how many candidates a search in the index looks at, at least.

        Raises:
            BadConfig: the address is not one, or has a password in it.
            BadArgument: a setting has a value that it cannot have.
        """
        if index not in {"flat", "hnsw"}:
            raise BadArgument(f"index is {index!r}; it can be flat or hnsw", hint='index = "hnsw"')
        for name, value, least, most in (
            ("hnsw_m", hnsw_m, 2, 512),
            ("hnsw_ef_construction", hnsw_ef_construction, 2, 4096),
            ("hnsw_ef_search", hnsw_ef_search, 1, 4096),
        ):
            require_within(name, value, least, most)
        where = place_from("redis", place, port=6379, tls=tls, ca_file=ca_file, user=user, secret=api_key)
        self._ef_search = hnsw_ef_search
        self._session = Session(where, database_from(where))
        self._collections = Collections(
            self._session, Index(method=index, m=hnsw_m, ef_construction=hnsw_ef_construction, ef_search=hnsw_ef_search)
        )

    @property
    def capabilities(self) -> StoreCapabilities:
        """What this adapter can do."""
        return _CAPABILITIES

    def create(self, field: VectorField, *, dimensions: int, metric: Metric) -> None:
        """Make an empty collection."""
        self._collections.create(field, dimensions=dimensions, metric=metric)

    def drop(self, field: VectorField) -> None:
        """Delete a collection with everything in it; one that is not there is no error."""
        self._collections.drop(field)

    def describe(self, field: VectorField) -> FieldDescription | None:
        """Return what the store knows about a field."""
        found = self._collections.find(field)
        if found is None:
            return None
        count = self._session.run("ZCARD", found.ids)
        return FieldDescription(dimensions=found.dimensions, metric=found.metric, count=count)

    def upsert(self, field: VectorField, records: Sequence[Record]) -> None:
        """Insert the records, replacing those with the same id whole."""
        self._write(field, records, replaces=True)

    def insert_absent(self, field: VectorField, records: Sequence[Record]) -> None:
        """Insert those records whose ids are not there yet."""
        self._write(field, records, replaces=False)

    def tag(self, field: VectorField, entries: Sequence[Entry]) -> set[DocumentId]:
        """Give records the tags of the entries, as long as they have their texts."""
        wanted = {entry.id: entry for entry in entries if entry.tag is not None}
        tagged: set[DocumentId] = set()
        if not wanted:
            return tagged
        found = self._collections.get(field)

        def put(pipeline: Any, page: Sequence[DocumentId]) -> None:
            tagged.difference_update(page)
            rows = self._rows_of(found, page, ["text"])
            pipeline.multi()
            for id, row in rows.items():
                tag, text = wanted[id].tag, wanted[id].text
                if tag is not None and text is not None and row[0] == text.encode():
                    said = ("space", tag.space, "content", tag.content, "sequence", tag.sequence)
                    pipeline.execute_command("HSET", found.key(id), *said)
                    tagged.add(id)

        self._in_pages(field, found, list(wanted), put, reads=True)
        return tagged

    def delete(self, field: VectorField, ids: Sequence[DocumentId], *, filter: Filter | None = None) -> None:
        """Delete records by id, those only that match the filter if there is one."""
        condition, wanted = condition_of(filter), list(dict.fromkeys(ids))
        if not wanted:
            return
        found = self._collections.get(field)

        def drop(pipeline: Any, page: Sequence[DocumentId]) -> None:
            meant = list(page)
            if condition is not None:
                rows = self._rows_of(found, page, ["metadata"])
                meant = [id for id, row in rows.items() if matches(condition, metadata_of(row))]
            pipeline.multi()
            if meant:
                pipeline.execute_command("UNLINK", *map(found.key, meant))
                pipeline.execute_command("ZREM", found.ids, *meant)

        self._in_pages(field, found, wanted, drop, reads=condition is not None)

    def merge_metadata(self, field: VectorField, changes: Mapping[DocumentId, Metadata], *, sequence: int) -> None:
        """Put the given keys into the metadata of existing records, and set the tag's sequence."""
        for id, change in changes.items():
            encode_metadata(id, change)
        if not changes:
            return
        found = self._collections.get(field)

        def put(pipeline: Any, page: Sequence[DocumentId]) -> None:
            rows = self._rows_of(found, page, ["metadata"])
            pipeline.multi()
            for id, row in rows.items():
                merged = {**metadata_of(row), **changes[id]}
                pipeline.execute_command("HSET", found.key(id), *metadata_pairs(id, merged), "sequence", sequence)

        self._in_pages(field, found, list(changes), put, reads=True)

    def fetch(self, field: VectorField, ids: Sequence[DocumentId]) -> dict[DocumentId, Record]:
        """Return the records with their vectors."""
        rows = self._rows(field, ids, fields(Part.TEXT, with_vector=True))
        return {id: record for id, row in rows.items() if (record := record_from(id, row)) is not None}

    def entries(
        self, field: VectorField, ids: Sequence[DocumentId], parts: Part = Part.TEXT
    ) -> dict[DocumentId, Entry]:
        """Return the records without their vectors."""
        return {id: entry_from(id, row, parts) for id, row in self._rows(field, ids, fields(parts)).items()}

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
        return list(islice(self._matching(field, condition, after=after, until=until, limit=limit, parts=parts), limit))

    def ids(self, field: VectorField, *, after: str = "", limit: int) -> list[DocumentId]:
        """Return the next ids in order, at most `limit`."""
        require_positive("limit", limit)
        return self._ids(field, after=after, until=None, limit=limit)

    def count(self, field: VectorField, filter: Filter | None = None) -> int:
        """Return how many records there are, or how many match the filter."""
        condition = condition_of(filter)
        if condition is None:
            return self._size(field)
        everything = self._matching(field, condition, after="", until=None, limit=_PAGE, parts=Part.NONE)
        return sum(1 for _ in everything)

    def search(self, field: VectorField, vector: Vector, *, k: int, filter: Filter | None = None) -> list[Hit]:
        """Return the k nearest records that match the filter, best first."""
        require_positive("k", k)
        theirs = native(filter)
        condition = None if theirs is not None else condition_of(filter)
        found = self._collections.get(field)
        wanted = checked_query(vector, dimensions=found.dimensions, metric=found.metric)
        bound, exact = (None, True) if condition is None else relaxed(condition, answers)
        query = str(theirs) if theirs is not None else EVERYTHING if bound is None else query_of(bound)
        size = self._size(field)
        # One more than is wanted tells whether the last one has equals that were left out.
        asked = k + 1 if exact else 4 * k + 16
        while query != NOTHING and size:
            near = candidates(self._session, found, wanted, query, k=min(asked, size), ef_search=self._ef_search)
            hits, least = self._hits(found, near, wanted, None if exact else condition)
            is_all = len(near) < asked or asked >= size or (found.method == "hnsw" and exact)
            if is_all or (len(hits) >= k and hits[k - 1].score > least):
                return hits[:k]
            asked *= 4
        return []

    def close(self) -> None:
        """Close the connections of this process; a later call opens them again."""
        self._session.close()

    def _write(self, field: VectorField, records: Sequence[Record], *, replaces: bool) -> None:
        if not records:
            return
        found = self._collections.get(field)
        try:
            block = stacked(records, dimensions=found.dimensions, metric=found.metric)
            given = {record.id: (record, row) for record, row in zip(records, block, strict=True)}
            if len(given) != len(records):
                raise StoreRejected("one call has two records of the same id", "nothing of it was written")
            # All that cannot be encoded is refused before the first is sent.
            encoded = {id: pairs(record, row) for id, (record, row) in given.items()}
        except UndriftError:
            # It may be another collection by now, of the same name.
            self._collections.forget(field)
            raise

        def put(pipeline: Any, page: Sequence[DocumentId]) -> None:
            new = list(page)
            if not replaces:
                there = pipeline.execute_command("ZMSCORE", found.ids, *page)
                new = [id for id, score in zip(page, there, strict=True) if score is None]
            pipeline.multi()
            for id in new:
                if replaces:
                    pipeline.execute_command("DEL", found.key(id))
                pipeline.execute_command("HSET", found.key(id), *encoded[id])
            if new:
                pipeline.execute_command("ZADD", found.ids, *(word for id in new for word in (0, id)))

        self._in_pages(field, found, list(given), put, reads=not replaces)

    def _in_pages(
        self,
        field: VectorField,
        found: Found,
        ids: Sequence[DocumentId],
        work: Callable[[Any, Sequence[DocumentId]], None],
        *,
        reads: bool,
    ) -> None:
        """Do something with some documents at a time, each time in a transaction that needs the collection."""
        for start in range(0, len(ids), _PAGE):
            page = ids[start : start + _PAGE]

            def checked(pipeline: Any, page: Sequence[DocumentId] = page) -> None:
                if pipeline.execute_command("HGET", found.about, "incarnation") != found.incarnation.encode():
                    raise self._collections.missing(field)
                work(pipeline, page)

            self._session.transaction([found.about, *(map(found.key, page) if reads else ())], checked)

    def _rows(self, field: VectorField, ids: Sequence[DocumentId], named: Sequence[str]) -> dict[DocumentId, Any]:
        found, wanted = self._collections.get(field), list(dict.fromkeys(ids))
        if not wanted:
            # A collection that is missing is said to be, also when nothing is asked of it.
            self._size(field)
        rows: dict[DocumentId, Any] = {}
        for start in range(0, len(wanted), _PAGE):
            rows |= self._rows_of(found, wanted[start : start + _PAGE], named, of=field)
        return rows

    def _rows_of(
        self, found: Found, ids: Sequence[DocumentId], named: Sequence[str], *, of: VectorField | None = None
    ) -> dict[DocumentId, Any]:
        """Return the values of documents that are there, all read at one moment."""
        incarnation, *rows = self._session.together(
            [("HGET", found.about, "incarnation"), *(("HMGET", found.key(id), *named) for id in ids)]
        )
        if of is not None and incarnation != found.incarnation.encode():
            raise self._collections.missing(of)
        return {id: row for id, row in zip(ids, rows, strict=True) if any(value is not None for value in row)}

    def _size(self, field: VectorField) -> int:
        found = self._collections.get(field)
        incarnation, size = self._session.together([("HGET", found.about, "incarnation"), ("ZCARD", found.ids)])
        if incarnation != found.incarnation.encode():
            raise self._collections.missing(field)
        return int(size)

    def _ids(self, field: VectorField, *, after: str, until: str | None, limit: int) -> list[DocumentId]:
        found = self._collections.get(field)
        low = b"(" + after.encode() if after else b"-"
        high = b"+" if until is None else b"[" + until.encode()
        incarnation, ids = self._session.together(
            [("HGET", found.about, "incarnation"), ("ZRANGEBYLEX", found.ids, low, high, "LIMIT", 0, limit)]
        )
        if incarnation != found.incarnation.encode():
            raise self._collections.missing(field)
        return [DocumentId(id.decode()) for id in ids]

    def _matching(
        self,
        field: VectorField,
        condition: Condition | None,
        *,
        after: str,
        until: str | None,
        limit: int,
        parts: Part,
    ) -> Iterator[Entry]:
        """Yield entries in the order of their ids; more than the limit, if they are asked for."""
        size = min(limit, _PAGE)
        while True:
            page = self._ids(field, after=after, until=until, limit=size)
            rows = self._rows(field, page, fields(parts))
            for id, row in rows.items():
                entry = entry_from(id, row, parts)
                if condition is None or matches(condition, entry.metadata):
                    yield entry
            if len(page) < size:
                return
            after = page[-1]

    def _hits(
        self, found: Found, ids: Sequence[str], query: Vector, condition: Condition | None
    ) -> tuple[list[Hit], float]:
        """Return the hits among some candidates, the nearest first, and how near the least of the candidates is."""
        wanted = [DocumentId(id) for id in ids]
        rows = self._rows_of(found, wanted, fields(Part.TEXT, with_vector=True)) if wanted else {}
        there = [(id, row) for id, row in rows.items() if row[5] is not None]
        scored = scores([vector_of(row) for _, row in there], query, found.metric)
        hits = [
            hit_from(id, row[:5], score)
            for (id, row), score in zip(there, scored, strict=True)
            if condition is None or matches(condition, metadata_of(row))
        ]
        return sorted(hits, key=lambda hit: (-hit.score, hit.id)), min(scored, default=0.0)
