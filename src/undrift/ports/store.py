"""What a vector database must do, and what it may do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, Flag, auto
from typing import Any, Protocol, runtime_checkable

from undrift.domain.cost import Footprint
from undrift.domain.names import NameRule
from undrift.domain.record import DocumentId, Entry, Hit, Metadata, Record, Vector
from undrift.domain.route import VectorField
from undrift.domain.space import Metric

#: Metadata that a document must have: `{"lang": "en", "year": 2020}` means both. See `docs/reference/filters.md`.
Filter = Mapping[str, Any]


class Layout(Enum):
    """Where a second vector field of the same documents can live."""

    #: In a collection of its own.
    COLLECTION = "collection"
    #: Beside the first one, in the same records.
    IN_PLACE = "in_place"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCapabilities:
    """What an adapter says it can do; one literal per adapter.

    Attributes:
        name: the adapter's name.
        metrics: the metrics it can search by.
        max_dimensions: the longest vector it takes.
        layouts: where a second field can live.
        settles_within_s: no request lands later than this after the deadline it was sent with (the fence horizon D).
        shares_file_with_ledger: whether a write can be in one transaction with a ledger in the same file.
        requests_die_with_process: whether nothing of a killed process can land any more: the store runs inside it.
        scans_lag_s: a scan may miss what another process inserted less than so long before it, as where the adapter has
            to keep a list of ids because the store has no order; 0 where a scan sees every acknowledged write.
        min_dimensions: the shortest vector it takes.
        max_id_bytes: the longest id it keeps, in UTF-8; None where it keeps every id that undrift takes.
        max_text_bytes: the longest text it keeps, in UTF-8; None where it is longer than 64 MiB.
        max_metadata_bytes: the largest metadata it keeps, as JSON in UTF-8; None where they are larger than 64 MiB. A
            write of more than one of these limits is refused with `StoreRejected`.
        keeps_length: whether a vector compared by the cosine keeps its length; where it does not, one of length 1 comes
            back bit for bit, and any other with length 1 and its direction.
        footprint: what a vector takes in it.
        names: what it lets collections be called; the names that undrift makes up keep to it.
        strong_reads: whether `fetch`, `entries` and `scan` are sure to see what was acknowledged to anybody; where they
            may not, no migration leads from or to the store, because nobody could tell an old text from the last one.
    """

    name: str
    metrics: frozenset[Metric]
    max_dimensions: int
    layouts: frozenset[Layout]
    settles_within_s: float
    shares_file_with_ledger: bool = False
    requests_die_with_process: bool = False
    scans_lag_s: float = 0.0
    min_dimensions: int = 1
    max_id_bytes: int | None = None
    max_text_bytes: int | None = None
    max_metadata_bytes: int | None = None
    keeps_length: bool = True
    footprint: Footprint = field(default_factory=Footprint)
    names: NameRule = field(default_factory=NameRule)
    strong_reads: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldDescription:
    """What a store knows about a field."""

    dimensions: int
    metric: Metric
    count: int


class Part(Flag):
    """What to read of a record besides its id, metadata and tag."""

    NONE = 0
    TEXT = auto()


class VectorStore(Protocol):
    """A vector database behind one address; every method is safe from several threads and processes.

    Vectors are float32 of shape (d,) with d the field's dimensions. Ids order by code point. Except where a method says
    otherwise, a call on a collection that is not there raises `CollectionMissing`, a store that does not answer raises
    `StoreUnavailable` (the outcome of a write is then unknown), and a write that the store will not take raises
    `StoreRejected` and has changed nothing.
    """

    @property
    def capabilities(self) -> StoreCapabilities:
        """What this adapter can do."""
        ...

    def create(self, field: VectorField, *, dimensions: int, metric: Metric) -> None:
        """Make an empty collection.

        Where the store declares `Layout.IN_PLACE` and there is such a collection, but without the vector that the
        address names, that is added to it: every record of it has room for one more vector then, and none has one yet.

        Raises:
            FieldInUse: a collection of that name, with such a vector, is there, whoever made it; it is left as it is.
        """
        ...

    def drop(self, field: VectorField) -> None:
        """Delete a collection with everything in it; one that is not there is no error.

        Where the records have vectors of another field as well, only those of this one go, with their tags.
        """
        ...

    def describe(self, field: VectorField) -> FieldDescription | None:
        """Return what the store knows about a field, or None when it has no such collection, or no such vector in it.

        The count is that of the records that have a vector of this field.
        """
        ...

    def upsert(self, field: VectorField, records: Sequence[Record]) -> None:
        """Insert the records, replacing those with the same id whole.

        Acknowledged means durable and visible to every later `fetch`. An empty call does nothing. Ids within one call
        are distinct. All records of a call become visible together or, where the store cannot, in any order.
        """
        ...

    def delete(self, field: VectorField, ids: Sequence[DocumentId], *, filter: Filter | None = None) -> None:
        """Delete records by id, those only that match the filter if there is one; unknown ids are no error."""
        ...

    def merge_metadata(self, field: VectorField, changes: Mapping[DocumentId, Metadata], *, sequence: int) -> None:
        """Put the given keys into the metadata of existing records, atomically for each, and set the tag's sequence.

        Keys that are not named stay. A record that is not there is not made. The vector and the text stay as they are.
        """
        ...

    def fetch(self, field: VectorField, ids: Sequence[DocumentId]) -> dict[DocumentId, Record]:
        """Return the records that exist, with their vectors; a strong read: it sees every acknowledged write."""
        ...

    def entries(
        self, field: VectorField, ids: Sequence[DocumentId], parts: Part = Part.TEXT
    ) -> dict[DocumentId, Entry]:
        """Return the records without their vectors; a strong read like `fetch`."""
        ...

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
        """Return the next records in the order of their ids: at most `limit` with after < id <= until.

        Fewer than `limit` means that there are no more. A record that is there during the whole scan is returned
        exactly once, however many others come and go meanwhile.
        """
        ...

    def ids(self, field: VectorField, *, after: str = "", limit: int) -> list[DocumentId]:
        """Return the next ids in order, at most `limit`; as `scan`, and cheaper."""
        ...

    def count(self, field: VectorField, filter: Filter | None = None) -> int:
        """Return how many records there are, or how many match the filter."""
        ...

    def search(self, field: VectorField, vector: Vector, *, k: int, filter: Filter | None = None) -> list[Hit]:
        """Return the k nearest records that match the filter, best first, fewer when there are fewer.

        The score grows with nearness: the cosine for `Metric.COSINE`, the inner product for `DOT`, minus the distance
        for `L2`. Ties are broken by id. With a filter, k matching records are returned if there are as many.
        """
        ...

    def close(self) -> None:
        """Let go of connections and files; a later call opens them again."""
        ...


@runtime_checkable
class SupportsInsertAbsent(Protocol):
    """A store that can leave records alone which are there already."""

    def insert_absent(self, field: VectorField, records: Sequence[Record]) -> None:
        """Insert those records whose ids are not there yet; leave the others as they are."""
        ...


@runtime_checkable
class SupportsInPlace(Protocol):
    """A store that can keep several vectors of a document in one record; it declares `Layout.IN_PLACE`.

    `docs` and `docs?vector=large` are two fields in the same records, which share text and metadata. Each vector has a
    tag of its own. A field has those records that have its vector: every other method sees only these.

    - `upsert` through one field replaces text and metadata and leaves the other vectors and their tags, so that these
      say of which text they are, until they are carried over. A record that it makes has no other vector.
    - `delete` removes the record, and with it every vector, whether it has one of this field or not.
    - `merge_metadata` through one field leaves the tags of the others.
    """

    def attach(self, field: VectorField, records: Sequence[Record]) -> None:
        """Put each vector with its tag beside the record of that id, if that still has the very text of `record.text`.

        A record that is not there is not made; one that has another text by now is left as it is, which is no error.
        Text, metadata and the vectors and tags of other fields stay. Else as `upsert`.
        """
        ...

    def detach(self, field: VectorField, ids: Sequence[DocumentId]) -> None:
        """Take vector and tag of the field out of these records, which stay with everything else; unknown ids pass."""
        ...


@runtime_checkable
class SupportsNames(Protocol):
    """A store in which programs that do not know undrift find what an alias serves under a name that stays."""

    def point(self, name: str, field: VectorField) -> None:
        """Let a name stand for a field from now on; done again, or where that is not configured, it changes nothing.

        Raises:
            StoreRejected: the name is that of something else, or this user may not give it.
        """
        ...


@runtime_checkable
class SupportsTagging(Protocol):
    """A store that can put a tag beside a vector that is there already."""

    def tag(self, field: VectorField, entries: Sequence[Entry]) -> set[DocumentId]:
        """Give records the tags of the entries, as long as they have their texts; return the ids of those that got one.

        Decided in the store, in one step with the change: a record whose text is no longer letter by letter that of the
        entry stays as it is. Vector, text and metadata of no record change. Ids that are not there are left out; an
        empty call does nothing.
        """
        ...
