"""Vectors in MongoDB: in Atlas, or in a server that has its search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from undrift.adapters.asked import condition_of, require_positive
from undrift.adapters.clock import SystemClock
from undrift.adapters.listing import Listings
from undrift.adapters.stores.mongodb import foreign
from undrift.adapters.stores.mongodb.collections import CAPABILITIES, Collections
from undrift.adapters.stores.mongodb.documents import (
    ID,
    METADATA,
    TAGS,
    TEXT,
    entry_from,
    hit_from,
    metadata_of,
    of_metadata,
    of_vector,
    record_from,
    require_room,
    tag_of,
    written,
)
from undrift.adapters.stores.mongodb.found import Found, named
from undrift.adapters.stores.mongodb.places import place_from
from undrift.adapters.stores.mongodb.reading import PAGE, Reading, asked_of, fits, pages_of
from undrift.adapters.stores.mongodb.searching import Searching
from undrift.adapters.stores.mongodb.session import Session
from undrift.adapters.stores.mongodb.writing import Writing
from undrift.domain.filter import native
from undrift.domain.record import DocumentId, Entry, Hit, Metadata, Record, Vector, encode_metadata, is_tagged
from undrift.domain.route import VectorField
from undrift.domain.shape import NO_TEXT
from undrift.domain.space import Metric
from undrift.domain.vectors import checked_query, stacked
from undrift.errors import BadArgument, StoreRejected, UndriftError
from undrift.ports.store import FieldDescription, Filter, Part, StoreCapabilities

_T = TypeVar("_T")


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
        listing_s: float = 10.0,
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
            listing_s: how old the list of ids may be that a scan of another program's collection goes by: its ids may
                be of several types, which MongoDB orders one after another.

        Raises:
            BadConfig: the address is not one, or has a password in it.
            BadArgument: a setting has a value that it cannot have.
        """
        if index not in {"exact", "hnsw", "none"}:
            raise BadArgument(f"index is {index!r}; it can be exact, hnsw or none", hint='index = "exact"')
        if not 1 <= hnsw_ef_search <= 10_000:
            raise BadArgument(f"hnsw_ef_search is {hnsw_ef_search}; it can be 1 to 10000")
        if not 0 <= listing_s <= 3600:
            raise BadArgument(f"listing_s is {listing_s}; it can be 0 to 3600")
        where = place_from(place, tls=tls, ca_file=ca_file, user=user, secret=api_key, auth_source=auth_source)
        self._session = Session(where)
        self._collections = Collections(self._session, index=index)
        self._listings = Listings(SystemClock().monotonic, float(listing_s))
        self._reading = Reading(self._session, self._listings)
        self._writing = Writing(self._session)
        self._searching = Searching(self._session, ef_search=hnsw_ef_search)
        self._listing_s = float(listing_s)

    @property
    def capabilities(self) -> StoreCapabilities:
        """What this adapter can do."""
        return replace(CAPABILITIES, scans_lag_s=self._listing_s)

    def create(self, field: VectorField, *, dimensions: int, metric: Metric) -> None:
        """Make an empty collection, or room for another vector in one that is there."""
        self._collections.create(field, dimensions=dimensions, metric=metric)
        self._listings.forget(named(field)[0])

    def drop(self, field: VectorField) -> None:
        """Delete a field with its vectors, and the collection with the last one."""
        self._collections.drop(field)
        self._listings.forget(named(field)[0])

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
            _require_own(found)
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
        _require_own(found)
        with self._session.translated(found.collection):
            for page in pages_of(ids):
                gone = {found.vector: "", f"{TAGS}.{found.vector}": ""}
                self._in(found).update_many({ID: {"$in": page}}, {"$unset": gone})

    def tag(self, field: VectorField, entries: Sequence[Entry]) -> set[DocumentId]:
        """Give records the tags of the entries, as long as they have their texts."""
        wanted = {one.id: one for one in entries if is_tagged(one.tag) and one.text is not None}
        if not wanted:
            return set()
        found = self._required(field)
        at, text = f"{TAGS}.{found.vector}", TEXT
        if found.places is not None:
            at, text = foreign.TAG, found.places.text
        if text == NO_TEXT:
            raise BadArgument(
                f"collection {field.collection} has no texts, so that no tag can be put beside one",
                hint="keep the tags in the ledger: tags=ledger",
            )
        changes = [
            (
                {ID: found.key(id), text: one.text, **found.has_vector},
                {"$set": {at: foreign.tag_value(one.tag)}},
            )
            for id, one in wanted.items()
            if is_tagged(one.tag)
        ]
        with self._session.translated(found.collection):
            self._writing.change(found, changes)
            now = self._reading.documents(found, list(wanted), found.reads(Part.TEXT))
        # Of the same text there is one tag of a space, whoever put it there.
        return {
            DocumentId(one[ID])
            for one in now
            if one.get(TEXT) == wanted[DocumentId(one[ID])].text
            and tag_of(found.vector, one) == wanted[DocumentId(one[ID])].tag
        }

    def delete(self, field: VectorField, ids: Sequence[DocumentId], *, filter: Filter | None = None) -> None:
        """Delete records by id, those only that match the filter if there is one."""
        condition = condition_of(filter)
        if not ids:
            return
        found = self._required(field)
        query, exact = asked_of(found, condition)
        with self._session.translated(found.collection):
            for page in pages_of(ids):
                if exact:
                    keys = [found.key(id) for id in page]
                    self._in(found).delete_many({"$and": [{ID: {"$in": keys}}, query]})
                else:
                    self._writing.delete_matching(found, page, lambda one: fits(condition, one))
        if not found.is_own and condition is None:
            self._listings.deleted(found.collection, ids)

    def merge_metadata(self, field: VectorField, changes: Mapping[DocumentId, Metadata], *, sequence: int) -> None:
        """Put the given keys into the metadata of existing records, and set the tag's sequence."""
        for id, one in changes.items():
            encode_metadata(id, one)
        if not changes:
            return
        found = self._required(field)
        at = f"{TAGS}.{found.vector}"

        def change(document: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
            if found.places is not None:
                id = DocumentId(found.row(document)[ID])
                query, said = foreign.changed(found.places, document, changes[id], sequence=sequence)
                return {**query, **found.has_vector}, said
            id = DocumentId(document[ID])
            kept = of_metadata(id, {**metadata_of(document), **changes[id]})
            if tag_of(found.vector, document) is not None:
                kept[f"{at}.sequence"] = sequence
            require_room(id, kept)
            # Only to what it was made of: a change of the metadata in between is not undone.
            return {ID: id, METADATA: document.get(METADATA), **found.has_vector}, {"$set": kept}

        with self._session.translated(found.collection):
            for page in pages_of(list(changes)):
                named = {METADATA: 1, at: 1} if found.is_own else found.reads(Part.NONE)
                read = partial(self._reading.stored, found, page, named)
                self._writing.change_what_was_read(found, read, change)

    def fetch(self, field: VectorField, ids: Sequence[DocumentId]) -> dict[DocumentId, Record]:
        """Return the records with their vectors."""
        found = self._collections.get(field)
        documents = self._read(field, found, ids, found.reads(Part.TEXT, with_vector=True))
        read = [record_from(found.vector, one) for one in documents]
        return {record.id: record for record in read if record is not None}

    def entries(
        self, field: VectorField, ids: Sequence[DocumentId], parts: Part = Part.TEXT
    ) -> dict[DocumentId, Entry]:
        """Return the records without their vectors."""
        found = self._collections.get(field)
        documents = self._read(field, found, ids, found.reads(parts))
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
        require_positive("limit", limit)
        condition = condition_of(filter)
        found = self._collections.get(field)
        with self._session.translated(found.collection):
            documents = self._reading.matching(
                found, condition, after=after, until=until, limit=limit, named=found.reads(parts)
            )
            page = [entry_from(found.vector, one, parts) for one in islice(documents, limit)]
        return page or self._nothing(field, found, page)

    def ids(self, field: VectorField, *, after: str = "", limit: int) -> list[DocumentId]:
        """Return the next ids in order, at most `limit`."""
        require_positive("limit", limit)
        found = self._collections.get(field)
        with self._session.translated(found.collection):
            documents = self._reading.matching(found, None, after=after, until=None, limit=limit, named={ID: 1})
            page = [DocumentId(one[ID]) for one in islice(documents, limit)]
        return page or self._nothing(field, found, page)

    def count(self, field: VectorField, filter: Filter | None = None) -> int:
        """Return how many records there are, or how many match the filter."""
        condition = condition_of(filter)
        found = self._collections.get(field)
        query, exact = asked_of(found, condition)
        with self._session.translated(found.collection):
            if exact:
                count = self._in(found).count_documents({"$and": [found.has_vector, query]})
            else:
                named = {METADATA: 1} if found.is_own else found.reads(Part.NONE)
                every = self._reading.matching(found, condition, after="", until=None, limit=PAGE, named=named)
                count = sum(1 for _ in every)
        return count or self._nothing(field, found, 0)

    def search(self, field: VectorField, vector: Vector, *, k: int, filter: Filter | None = None) -> list[Hit]:
        """Return the k nearest records that match the filter, best first."""
        require_positive("k", k)
        theirs = native(filter)
        condition = None if theirs is not None else condition_of(filter)

        def read(found: Found) -> list[Hit]:
            if theirs is not None and not found.index:
                raise BadArgument(
                    f"collection {found.collection} has no index that a filter of MongoDB's own could go to",
                    hint="use a filter of undrift's, or make a collection with an index",
                )
            wanted = checked_query(vector, dimensions=found.dimensions, metric=found.metric)
            bound, exact = asked_of(found, condition, by_index=bool(found.index))
            if theirs is not None:
                bound, exact = dict(theirs), True
            accepts = None if exact else partial(fits, condition)
            with self._session.translated(found.collection):
                nearest = self._searching.nearest(
                    found, wanted, k=k, bound=bound, accepts=accepts, is_theirs=theirs is not None
                )
            return [hit_from(found.vector, document, score) for score, document in nearest]

        return self._collections.on(field, read)

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
                if found.places is None:
                    made = written(records, block, found.vector)
                else:
                    pairs = zip(records, block, strict=True)
                    made = [(one.id, foreign.update_of(found.places, one, vector)) for one, vector in pairs]
                    for id, said in made:
                        require_room(id, said.get("$set", said))
                work(found, made)
                if not found.is_own:
                    self._listings.written(found.collection, [record.id for record in records])
        except UndriftError:
            # It may be another collection by now, of the same name.
            self._collections.forget(field)
            raise

    def _read(
        self, field: VectorField, found: Found, ids: Sequence[DocumentId], named: Mapping[str, int]
    ) -> list[Mapping[str, Any]]:
        with self._session.translated(found.collection):
            documents = self._reading.documents(found, ids, named)
        return documents or self._nothing(field, found, documents)

    def _nothing(self, field: VectorField, found: Found, empty: _T) -> _T:
        """Return what is empty, when that is because nothing is there, and not because the collection is gone."""
        with self._session.translated(found.collection):
            self._collections.require(field, found)
        return empty


def _require_own(found: Found) -> None:
    if not found.is_own:
        raise BadArgument(
            f"collection {found.collection} cannot have a second vector beside that of another program",
            hint="let the migration make a collection of its own: --layout collection",
        )
