"""Changes of tables that other programs made; whoever makes one holds the table's lock.

LangChain and LlamaIndex add and delete rows and never change one, so that between two of undrift's own writers the lock
is enough; a text that is to stay the same is compared by the engine all the same.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from undrift.adapters.stores.lancedb import foreign
from undrift.adapters.stores.lancedb.places import Kept, quoted
from undrift.adapters.stores.lancedb.reading import Reader
from undrift.adapters.stores.lancedb.session import Session
from undrift.adapters.stores.lancedb.tables import TAG, Table, tag_fields
from undrift.domain.record import DocumentId, Entry, Metadata, Record, encode_metadata, is_tagged
from undrift.domain.shape import NO_TEXT
from undrift.errors import StoreRejected

#: Rows of a piece while a table is written anew.
_BATCH = 4096


class ForeignWriting:
    """Writes to such tables of one database."""

    def __init__(self, session: Session) -> None:
        """Use a database."""
        self._session = session

    async def put(self, table: Table, records: Sequence[Record], *, replace: bool) -> None:
        """Write records, replacing those that are there, or leaving them alone.

        Raises:
            StoreRejected: the table cannot keep something as it is.
        """
        for record in records:
            encode_metadata(record.id, record.metadata)
        metadata = [foreign.kept(table, one.id, one.text, one.metadata) for one in records]
        table = await self._fitted(table, metadata, tags=any(is_tagged(one.tag) for one in records))
        rows = foreign.block(table, records, metadata)
        merge = table.handle.merge_insert(table.places.id)
        if replace:
            merge = merge.when_matched_update_all()
        await merge.when_not_matched_insert_all().execute(rows)

    async def merge_metadata(self, table: Table, changes: Mapping[DocumentId, Metadata], *, sequence: int) -> None:
        """Put keys into the metadata of the records that are there."""
        import pyarrow as pa

        rows = await Reader(table).by_id(list(changes), ("text",))
        if not rows:
            return
        metadata = []
        for row in rows:
            changed = {**json.loads(row["metadata"]), **changes[DocumentId(row["id"])]}
            encode_metadata(row["id"], changed)
            metadata.append(foreign.kept(table, row["id"], row.get("text", ""), changed))
        table = await self._fitted(table, metadata, tags=False)
        ids = [row["id"] for row in rows]
        values: dict[str, Any] = {
            table.places.id: pa.array(ids, pa.string()),
            **foreign.metadata_columns(table, ids, metadata),
        }
        if table.has_tags:
            numbers = [sequence if row["space"] else None for row in rows]
            values[TAG[2]] = pa.array(numbers, table.schema.field(TAG[2]).type)
        await self._changed(table, values, rows)

    async def tag(self, table: Table, entries: Sequence[Entry]) -> None:
        """Give records their tags, as long as they have the texts of the entries."""
        import pyarrow as pa

        table = await self._fitted(table, [], tags=True)
        tags = [(one.tag.space, one.tag.content, one.tag.sequence) for one in entries if is_tagged(one.tag)]
        values = {table.places.id: pa.array([one.id for one in entries], pa.string())}
        for at, name in enumerate(TAG):
            values[name] = pa.array([tag[at] for tag in tags], table.schema.field(name).type)
        await self._changed(table, values, [{"text": one.text or ""} for one in entries])

    async def _changed(self, table: Table, values: dict[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
        """Change some columns of rows that have the same text still; none is made."""
        import pyarrow as pa

        where = None
        if table.places.text != NO_TEXT:
            values[table.places.text] = pa.array([row["text"] for row in rows], pa.string())
            # What is empty and what is missing are the same text.
            text = quoted(table.places.text)
            where = f"target.{text} = source.{text} OR (target.{text} IS NULL AND source.{text} = '')"
        merge = table.handle.merge_insert(table.places.id).when_matched_update_all(where=where)
        await merge.execute(pa.table(values))

    async def _fitted(self, table: Table, metadata: Sequence[Any], *, tags: bool) -> Table:
        """Return the table with columns for whatever is written to it."""
        import pyarrow as pa

        missing = foreign.missing(table, metadata)
        if missing and not table.is_ours:
            raise StoreRejected(
                f"the metadata of table {table.places.table} have no field {', '.join(map(repr, missing))}",
                "the program that made it could not write that either; nothing of this call was written",
                "leave it out, or make the table anew with it",
            )
        lacks_tags = tags and table.places.tags_in_row and not table.has_tags
        if lacks_tags:
            await table.handle.add_columns(pa.schema(tag_fields()))
        if missing and table.kept is Kept.COLUMNS:
            await table.handle.add_columns(pa.schema([pa.field(name, kind) for name, kind in missing.items()]))
        elif missing:
            await asyncio.to_thread(self._widen, table, missing)
        return await self._session.opened(table.places) if missing or lacks_tags else table

    def _widen(self, table: Table, missing: Mapping[str, Any]) -> None:
        """Write a table anew with more fields of the metadata, as one version."""
        import lance
        import pyarrow as pa

        assert table.kept is Kept.STRUCT
        place = f"{self._session.place}/{table.places.table}.lance"
        dataset = lance.dataset(place, storage_options=self._session.storage_options)
        name = table.places.metadata
        schema = dataset.schema
        wide = pa.struct([*schema.field(name).type, *(pa.field(key, kind) for key, kind in missing.items())])
        schema = schema.set(schema.get_field_index(name), pa.field(name, wide))

        def batches() -> Iterator[Any]:
            for batch in dataset.to_batches(batch_size=_BATCH):
                at = batch.schema.get_field_index(name)
                arrays = [*batch.columns]
                arrays[at] = pa.array(batch.column(at).to_pylist(), wide)
                yield pa.record_batch(arrays, schema=schema)

        lance.write_dataset(
            pa.RecordBatchReader.from_batches(schema, batches()),
            place,
            schema=schema,
            mode="overwrite",
            storage_options=self._session.storage_options,
        )
