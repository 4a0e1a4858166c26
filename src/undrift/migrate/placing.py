"""How workers write to a field: into records of its own, or beside the vectors of another in the same records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from undrift.domain.record import DocumentId, Record
from undrift.domain.route import VectorField
from undrift.errors import BadConfig
from undrift.ports.store import SupportsInPlace, SupportsInsertAbsent, VectorStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """What writes to a field, and leaves alone what is not its own.

    Attributes:
        replace: writes records, whatever is there.
        insert: writes records where nothing is; as `replace` where the store cannot tell.
        remove: takes documents out of the field.
    """

    replace: Callable[[VectorField, Sequence[Record]], None]
    insert: Callable[[VectorField, Sequence[Record]], None]
    remove: Callable[[VectorField, Sequence[DocumentId]], None]


def placing(store: VectorStore, there: VectorField, *, of: VectorField) -> Placing:
    """Return how documents are carried to a field.

    In the same records, only the vector and its tag are written, and only beside the text that it was made of: what a
    writer put into the record meanwhile must not be replaced by what a worker has read before (R21 of the protocol).

    Args:
        store: the store of the field.
        there: the field.
        of: the field that the documents are read from.

    Raises:
        BadConfig: the store cannot keep two vectors in one record.
    """
    if not there.is_beside(of):
        insert = store.insert_absent if isinstance(store, SupportsInsertAbsent) else store.upsert
        return Placing(replace=store.upsert, insert=insert, remove=store.delete)
    if not isinstance(store, SupportsInPlace):
        raise BadConfig(
            f"store {store.capabilities.name} cannot keep the vectors of {there.key} beside those of {of.key}",
            "both are addresses of the same records",
            "give one of them a collection of its own",
        )
    return Placing(replace=store.attach, insert=store.attach, remove=store.detach)
