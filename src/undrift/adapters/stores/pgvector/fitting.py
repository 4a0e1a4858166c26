"""What a table has no room for, said before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from undrift.adapters.stores.pgvector.ids import IdKind, can_be
from undrift.adapters.stores.pgvector.tables import Table
from undrift.domain.record import DocumentId, Metadata, Record
from undrift.errors import StoreRejected

_NOTHING = "nothing of this call was written"
_WANTED = {IdKind.UUID: "a UUID in its usual form", IdKind.NUMBER: "a whole number"}


def require_fitting(table: Table, records: Sequence[Record]) -> None:
    """Pass when records can be in a table.

    Raises:
        StoreRejected: the column of the id takes no such id, or there is no column for a key of the metadata.
    """
    for record in records:
        if table.ids in _WANTED and not can_be(record.id, table.ids):
            raise StoreRejected(
                f"document {record.id!r} cannot be in table {table.name}: its ids are of another kind",
                f"column {table.id} takes {_WANTED[table.ids]}; {_NOTHING}",
            )
    require_room(table, ((record.id, record.metadata) for record in records))


def require_room(table: Table, metadata: Iterable[tuple[DocumentId, Metadata]]) -> None:
    """Pass when there is a place for every key of some metadata.

    Raises:
        StoreRejected: the metadata are in columns, and a key has none.
    """
    if table.metadata is not None:
        return
    for id, some in metadata:
        unknown = sorted(some.keys() - set(table.rest))
        if unknown:
            raise StoreRejected(
                f"the metadata of document {id!r} have the key {unknown[0]!r}, and table {table.name} no such column",
                f"its columns are {', '.join(table.rest) or 'none'}; {_NOTHING}",
            )
