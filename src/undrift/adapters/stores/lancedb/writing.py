"""Changes of a collection; each attempt of one is one version of its table, or none."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from undrift.adapters.stores.lancedb.reading import MANY_IDS, Reader, Wanted, among
from undrift.adapters.stores.lancedb.rows import block, changed_block, tagging_block
from undrift.adapters.stores.lancedb.tables import Table
from undrift.domain.record import DocumentId, Entry, Metadata, Record


async def upsert(table: Table, records: Sequence[Record]) -> None:
    """Write records, replacing those that are there."""
    merge = table.handle.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
    await merge.execute(block(records, table))


async def insert_absent(table: Table, records: Sequence[Record]) -> None:
    """Write the records that are not there."""
    await table.handle.merge_insert("id").when_not_matched_insert_all().execute(block(records, table))


async def delete(table: Table, ids: Sequence[DocumentId], wanted: Wanted) -> None:
    """Delete the records of these ids that match."""
    distinct = list(dict.fromkeys(ids))
    for start in range(0, len(distinct), MANY_IDS):
        some = distinct[start : start + MANY_IDS]
        if not table.is_own and wanted.condition is not None:
            # Whoever else writes to such a table adds rows, or deletes them.
            found = [row for row in await Reader(table).by_id(some, ()) if wanted.holds(row)]
            some = [DocumentId(row["id"]) for row in found]
        if some and (wanted.condition is None or not table.is_own):
            tests = [among(some, table.places.id), wanted.sql]
            await table.handle.delete(" AND ".join(filter(None, tests)))
        elif some:
            await _delete_unchanged(table, some, wanted)


async def merge_metadata(table: Table, changes: Mapping[DocumentId, Metadata], *, sequence: int) -> None:
    """Put keys into the metadata of the records that are there.

    A row is changed only while it has the revision that its metadata were read with; one that has not is read again.
    """
    left = dict(changes)
    while left:
        await table.handle.checkout_latest()
        rows = await Reader(table).by_id(list(left), ("text", "revision", "vector"))
        await _number(table, rows)
        found = [row for row in rows if row["revision"] is not None]
        # By its length everybody knows the own step.
        step = 1 + secrets.randbits(30)
        if found:
            where = f"target.revision = source.revision - {step}"
            merge = table.handle.merge_insert("id").when_matched_update_all(where=where)
            done = await merge.execute(changed_block(found, left, sequence, step, table))
            if done.num_updated_rows == len(rows):
                return
        await table.handle.checkout_latest()
        now = {row["id"]: row["revision"] for row in await Reader(table).by_id(list(left), ("revision",))}
        ours = {row["id"] for row in found if now.get(row["id"]) == row["revision"] + step}
        left = {id: change for id, change in left.items() if id in now and id not in ours}


async def tag(table: Table, entries: Sequence[Entry]) -> None:
    """Give records their tags, as long as they have the texts of the entries: the engine compares as it writes."""
    merge = table.handle.merge_insert("id").when_matched_update_all(where="target.text = source.text")
    await merge.execute(tagging_block(entries, table))


async def _delete_unchanged(table: Table, ids: Sequence[DocumentId], wanted: Wanted) -> None:
    """Delete records that match by what only undrift can say, while they are as they were when that was looked at."""
    while True:
        await table.handle.checkout_latest()
        found = [row for row in await Reader(table).by_id(ids, ("revision",)) if wanted.holds(row)]
        if not found:
            return
        await _number(table, found)
        tests = [
            f"({among([row['id']])} AND revision = {row['revision']})" for row in found if row["revision"] is not None
        ]
        if tests:
            await table.handle.delete(" OR ".join(tests))


async def _number(table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """Give a revision to those rows that another program wrote without one."""
    for row in rows:
        if row["revision"] is None:
            condition = f"{among([row['id']])} AND revision IS NULL"
            await table.handle.update(where=condition, updates={"revision": secrets.randbits(62)})
