"""Vectors in MongoDB: in Atlas, or in a server that has its search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from undrift.adapters.stores.mongodb.collections import MAX_DIMENSIONS, SIMILARITIES, Collections, Found
from undrift.adapters.stores.mongodb.conditions import query_of
from undrift.adapters.stores.mongodb.documents import (
    ID,
    METADATA,
    MOST_METADATA,
    MOST_TEXT,
    TAGS,
    TEXT,
    entry_from,
    fields,
    hit_from,
    metadata_of,
    of_metadata,
    of_vector,
    record_from,
    require_room,
    tag_of,
    written,
)
from undrift.adapters.stores.mongodb.places import place_from
from undrift.adapters.stores.mongodb.searching import Searching
from undrift.adapters.stores.mongodb.session import Session
from undrift.adapters.stores.mongodb.writing import Writing
from undrift.domain.filter import Condition, matches, native, parse
from undrift.domain.record import DocumentId, Entry, Hit, Metadata, Record, Vector, encode_metadata, is_tagged
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.domain.vectors import checked_query, stacked
from undrift.errors import BadArgument, StoreRejected, UndriftError
from undrift.ports.store import FieldDescription, Filter, Layout, Part, StoreCapabilities

_T = TypeVar("_T")
_CAPABILITIES = StoreCapabilities(
    name="mongodb",
    metrics=frozenset(SIMILARITIES),
    max_dimensions=MAX_DIMENSIONS,
    layouts=frozenset({Layout.COLLECTION, Layout.IN_PLACE}),
    # A call is given up after 10 s, by the server as well. One that a member took in before another one was elected may
    # still come to be; we know of no election that takes a minute.
    settles_within_s=60.0,
    max_text_bytes=MOST_TEXT,
    max_metadata_bytes=MOST_METADATA,
)
#: Documents of one request by id.
_PAGE = 1_000


class MongoDbStore:
    """A store in a MongoDB deployment: records are documents, and several vectors of one stand in one document.

    Writes are acknowledged by a majority of the members, and reads are of what a majority has, from the primary one.
    Every change of a document is one atomic update, with a condition where it depends on what was read. A search asks
    the index of Atlas, which takes in what was written a moment later: where it names less than there is, all vectors
    are compared.
    """

    def __init__(
        self,
        place: str,
        *,
        tls: bool | None = None,
        ca_file: str = "",
        user: str = "",
        api_key: str | None = None,
        auth_source: str = "admin",
        index: str = "exact",
        hnsw_ef_search: int = 200,
    ) -> None:
        """Use a database; it is connected to by the first call.

        Args:
            place: `mongodb://HOST:PORT/DATABASE`, with several hosts as HOST:PORT,HOST:PORT; or
                `mongodb+srv://HOST/DATABASE`.
            tls: ask over TLS; what the address says if it is not said.
            ca_file: certificates to check the server's own with, instead of those of the system.
            user: who asks; nobody if empty.
            api_key: the password, from the variable or file that `api_key_env` or `api_key_file` names.
            auth_source: the database that knows the user.
            index: `exact`, and a search compares with every vector of the index; `hnsw`, and it is fast and may miss
                some; or `none`, and it reads all vectors, which needs no Atlas. It is made with a collection.
            hnsw_ef_search: how many candidates a search in the index looks at, at least.

        Raises:
            BadConfig: the address is not one, or has a password in it.
            BadArgument: a setting has a value that it cannot have.
        """
        if index not in {"exact", "hnsw", "none"}:
            raise BadArgument(f"index is {index!r}; it can be exact, hnsw or none", hint='index = "exact"')
        if not 1 <= hnsw_ef_search <= 10_000:
            raise BadArgument(f"hnsw_ef_search is {hnsw_ef_search}; it can be 1 to 10000")
        where = place_from(place, tls=tls, ca_file=ca_file, user=user, secret=api_key, auth_source=auth_source)
        self._session = Session(where)
        self._collections = Collections(self._session, index=index)
        self._writing = Writing(self._session)
        self._searching = Searching(self._session, ef_search=hnsw_ef_search)

    @property
    def capabilities(self) -> StoreCapabilities:
        """What this adapter can do."""
        return _CAPABILITIES

    def create(self, field: VectorField, *, dimensions: int, metric: Metric) -> None:
        """Make an empty collection, or room for another vector in one that is there."""
        self._collections.create(field, dimensions=dimensions, metric=metric)

    def drop(self, field: VectorField) -> None:
        """Delete a field with its vectors, and the collection with the last one."""
        self._collections.drop(field)

    def describe(self, field: VectorField) -> FieldDescription | None:
        """Return what the store knows about a field."""
        found = self._collections.find(field)
        if found is None:
            return None
        with self._session.translated(found.collection):
            count = self._in(found).count_documents(found.has_vector)
        return FieldDescription(dimensions=found.dimensions, metric=found.metric, count=count)

    def upsert(self, field: VectorField, records: Sequence[Record]) -> None:
        """Insert the records, replacing those with the same id whole, but for vectors of other fields."""
        self._write(field, records, self._writing.put)

    def insert_absent(self, field: VectorField, records: Sequence[Record]) -> None:
        """Insert those records whose ids are not there yet."""
        self._write(field, records, self._writing.put_absent)

    def attach(self, field: VectorField, records: Sequence[Record]) -> None:
        """Put each vector with its tag beside the record of that id, if that still has the text of the record."""
        texts = {record.id: record.text for record in records}

        def work(found: Found, made: list[tuple[DocumentId, dict[str, Any]]]) -> None:
            changes = []
            for (id, _), record in zip(made, records, strict=True):
                kept, gone = of_vector(found.vector, record.vector, record.tag)
                said = {"$set": kept, **({"$unset": gone} if gone else {})}
                changes.append(({ID: id, TEXT: texts[id]}, said))
            self._writing.change(found, changes)

        self._write(field, records, work)

    def detach(self, field: VectorField, ids: Sequence[DocumentId]) -> None:
        """Take vector and tag of the field out of these records, which stay with everything else."""
        found = self._required(field)
        with self._session.translated(found.collection):
            for page in _pages(ids):
                gone = {found.vector: "", f"{TAGS}.{found.vector}": ""}
                self._in(found).update_many({ID: {"$in": page}}, {"$unset": gone})

    def tag(self, field: VectorField, entries: Sequence[Entry]) -> set[DocumentId]:
        """Give records the tags of the entries, as long as they have their texts."""
        wanted = {one.id: one for one in entries if is_tagged(one.tag) and one.text is not None}
        if not wanted:
            return set()
        found = self._required(field)
        at = f"{TAGS}.{found.vector}"
        changes = [
            (
                {ID: id, TEXT: one.text, **found.has_vector},
                {"$set": {at: {"space": one.tag.space, "content": one.tag.content, "sequence": one.tag.sequence}}},
            )
            for id, one in wanted.items()
            if is_tagged(one.tag)
        ]
        with self._session.translated(found.collection):
            self._writing.change(found, changes)
            now = self._documents(found, list(wanted), {TEXT: 1, at: 1})
        # Of the same text there is one tag of a space, whoever put it there.
        return {
            DocumentId(one[ID])
            for one in now
            if one.get(TEXT) == wanted[DocumentId(one[ID])].text
            and tag_of(found.vector, one) == wanted[DocumentId(one[ID])].tag
        }

    def delete(self, field: VectorField, ids: Sequence[DocumentId], *, filter: Filter | None = None) -> None:
        """Delete records by id, those only that match the filter if there is one."""
        condition = _condition(filter)
        if not ids:
            return
        found = self._required(field)
        query, exact = query_of(condition)
        with self._session.translated(found.collection):
            for page in _pages(ids):
                if exact:
                    self._in(found).delete_many({"$and": [{ID: {"$in": page}}, query]})
                else:
                    self._writing.delete_matching(found, page, lambda one: _matches(condition, one))

    def merge_metadata(self, field: VectorField, changes: Mapping[DocumentId, Metadata], *, sequence: int) -> None:
        """Put the given keys into the metadata of existing records, and set the tag's sequence."""
        for id, one in changes.items():
            encode_metadata(id, one)
        if not changes:
            return
        found = self._required(field)
        at = f"{TAGS}.{found.vector}"

        def change(document: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
            id = DocumentId(document[ID])
            kept = of_metadata(id, {**metadata_of(document), **changes[id]})
            if tag_of(found.vector, document) is not None:
                kept[f"{at}.sequence"] = sequence
            require_room(id, kept)
            # Only to what it was made of: a change of the metadata in between is not undone.
            return {ID: id, METADATA: document.get(METADATA), **found.has_vector}, {"$set": kept}

        with self._session.translated(found.collection):
            for page in _pages(list(changes)):
                read = partial(self._documents, found, page, {METADATA: 1, at: 1})
                self._writing.change_what_was_read(found, read, change)

    def fetch(self, field: VectorField, ids: Sequence[DocumentId]) -> dict[DocumentId, Record]:
        """Return the records with their vectors."""
        found = self._collections.get(field)
        documents = self._read(field, found, ids, fields(found.vector, Part.TEXT, with_vector=True))
        read = [record_from(found.vector, one) for one in documents]
        return {record.id: record for record in read if record is not None}

    def entries(
        self, field: VectorField, ids: Sequence[DocumentId], parts: Part = Part.TEXT
    ) -> dict[DocumentId, Entry]:
        """Return the records without their vectors."""
        found = self._collections.get(field)
        documents = self._read(field, found, ids, fields(found.vector, parts))
        read = [entry_from(found.vector, one, parts) for one in documents]
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
        _require_positive("limit", limit)
        condition = _condition(filter)
        found = self._collections.get(field)
        with self._session.translated(found.collection):
            documents = self._matching(
                found, condition, after=after, until=until, limit=limit, named=fields(found.vector, parts)
            )
            page = [entry_from(found.vector, one, parts) for one in islice(documents, limit)]
        return page or self._nothing(field, found, page)

    def ids(self, field: VectorField, *, after: str = "", limit: int) -> list[DocumentId]:
        """Return the next ids in order, at most `limit`."""
        _require_positive("limit", limit)
        found = self._collections.get(field)
        with self._session.translated(found.collection):
            documents = self._matching(found, None, after=after, until=None, limit=limit, named={ID: 1})
            page = [DocumentId(one[ID]) for one in islice(documents, limit)]
        return page or self._nothing(field, found, page)

    def count(self, field: VectorField, filter: Filter | None = None) -> int:
        """Return how many records there are, or how many match the filter."""
        condition = _condition(filter)
        found = self._collections.get(field)
        query, exact = query_of(condition)
        with self._session.translated(found.collection):
            if exact:
                count = self._in(found).count_documents({"$and": [found.has_vector, query]})
            else:
                named = {METADATA: 1}
                every = self._matching(found, condition, after="", until=None, limit=_PAGE, named=named)
                count = sum(1 for _ in every)
        return count or self._nothing(field, found, 0)

    def search(self, field: VectorField, vector: Vector, *, k: int, filter: Filter | None = None) -> list[Hit]:
        """Return the k nearest records that match the filter, best first."""
        _require_positive("k", k)
        theirs = native(filter)
        condition = None if theirs is not None else _condition(filter)
        found = self._collections.find(field) or self._collections.get(field)
        if theirs is not None and not found.index:
            raise BadArgument(
                f"collection {found.collection} has no index that a filter of MongoDB's own could go to",
                hint="use a filter of undrift's, or make a collection with an index",
            )
        wanted = checked_query(vector, dimensions=found.dimensions, metric=found.metric)
        bound, exact = query_of(condition, by_index=bool(found.index)) if theirs is None else (dict(theirs), True)
        with self._session.translated(found.collection):
            nearest = self._searching.nearest(
                found,
                wanted,
                k=k,
                bound=bound,
                accepts=None if exact else lambda one: _matches(condition, one),
                is_theirs=theirs is not None,
            )
        return [hit_from(found.vector, document, score) for score, document in nearest]

    def close(self) -> None:
        """Close the connections of this process; a later call opens them again."""
        self._session.close()

    def _in(self, found: Found) -> Any:
        return self._session.database[found.collection]

    def _required(self, field: VectorField) -> Found:
        """Return a field that is there now."""
        found = self._collections.get(field)
        with self._session.translated(found.collection):
            self._collections.require(field, found)
        return found

    def _write(
        self,
        field: VectorField,
        records: Sequence[Record],
        work: Callable[[Found, list[tuple[DocumentId, dict[str, Any]]]], None],
    ) -> None:
        if not records:
            return
        found = self._collections.get(field)
        try:
            with self._session.translated(found.collection):
                self._collections.require(field, found)
                block = stacked(records, dimensions=found.dimensions, metric=found.metric)
                if len({record.id for record in records}) != len(records):
                    raise StoreRejected("one call has two records of the same id", "nothing of it was written")
                work(found, written(records, block, found.vector))
        except UndriftError:
            # It may be another collection by now, of the same name.
            self._collections.forget(field)
            raise

    def _read(
        self, field: VectorField, found: Found, ids: Sequence[DocumentId], named: Mapping[str, int]
    ) -> list[Mapping[str, Any]]:
        with self._session.translated(found.collection):
            documents = self._documents(found, ids, named)
        return documents or self._nothing(field, found, documents)

    def _documents(self, found: Found, ids: Sequence[DocumentId], named: Mapping[str, int]) -> list[Mapping[str, Any]]:
        """Return documents by id that have a vector of the field."""
        read: list[Mapping[str, Any]] = []
        for page in _pages(ids):
            read += self._in(found).find({ID: {"$in": page}, **found.has_vector}, dict(named))
        return read

    def _matching(
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
        query, exact = query_of(condition)
        size = min(limit, _PAGE) if exact else _PAGE
        while True:
            within = {"$gt": after, **({} if until is None else {"$lte": until})}
            asked = {"$and": [{ID: within}, found.has_vector, query]}
            page = list(self._in(found).find(asked, dict(named)).sort(ID, 1).limit(size))
            yield from (one for one in page if exact or _matches(condition, one))
            if len(page) < size:
                return
            after = page[-1][ID]

    def _nothing(self, field: VectorField, found: Found, empty: _T) -> _T:
        """Return what is empty, when that is because nothing is there, and not because the collection is gone."""
        with self._session.translated(found.collection):
            self._collections.require(field, found)
        return empty


def _pages(ids: Sequence[DocumentId]) -> list[list[DocumentId]]:
    distinct = list(dict.fromkeys(ids))
    return [distinct[start : start + _PAGE] for start in range(0, len(distinct), _PAGE)]


def _matches(condition: Condition | None, document: Mapping[str, Any]) -> bool:
    return condition is None or matches(condition, metadata_of(document))


def _condition(filter: Filter | None) -> Condition | None:
    return None if filter is None else parse(filter)


def _require_positive(name: str, value: int) -> None:
    if value < 1:
        raise BadArgument(f"{name} is {value}; at least 1 can be asked for")
