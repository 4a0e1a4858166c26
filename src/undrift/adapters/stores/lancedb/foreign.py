"""Rows of tables that other programs made, as undrift's own rows have them, and back.

Such a table may have an id twice, because LangChain and LlamaIndex add without looking: the row written last counts,
and every write is made to all of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from undrift.adapters import llama_node
from undrift.adapters.stores.lancedb.places import Kept
from undrift.adapters.stores.lancedb.tables import TAG, Table
from undrift.domain.record import Metadata, Record, is_tagged
from undrift.domain.shape import NO_TEXT
from undrift.domain.vectors import stacked
from undrift.errors import StoreRejected

ROW = "_rowid"
_NOTHING = "nothing of this call was written"


def columns(table: Table, named: Sequence[str]) -> list[str]:
    """Return what the columns are called that undrift's own tables call so; those that there are."""
    places = table.places
    found = {"id": [places.id], "text": [places.text], "metadata": [places.metadata], "vector": [places.vector]}
    if table.has_tags:
        found |= {name: [column] for name, column in zip(("space", "content", "sequence"), TAG, strict=True)}
    if table.kept is Kept.COLUMNS:
        found["metadata"] = [*table.rest]
    return [column for name in named for column in found.get(name, []) if column != NO_TEXT]


def row_from(table: Table, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as undrift's own tables have it."""
    places = table.places
    found: dict[str, Any] = {
        "id": stored[places.id],
        "space": stored.get(TAG[0]) or "",
        "content": stored.get(TAG[1]) or "",
        "sequence": stored.get(TAG[2]) or 0,
    }
    if table.kept is Kept.COLUMNS:
        there = {name: stored[name] for name in table.rest if stored.get(name) is not None}
        found["metadata"] = json.dumps(there, ensure_ascii=False)
    elif places.metadata in stored:
        metadata = metadata_from(table, stored[places.metadata])
        found["metadata"] = json.dumps(metadata, ensure_ascii=False)
    if places.text in stored:
        found["text"] = stored[places.text] or ""
    if places.vector in stored:
        found["vector"] = stored[places.vector]
    return found | {key: stored[key] for key in ("_distance", ROW) if key in stored}


def metadata_from(table: Table, stored: Any) -> dict[str, Any]:
    """Return the metadata of a row; a field of a struct that is empty is none."""
    if table.kept is Kept.TEXT:
        found = json.loads(stored or "{}")
        return found if isinstance(found, dict) else {}
    there = {key: value for key, value in (stored or {}).items() if value is not None}
    return llama_node.read(there) if table.places.has_nodes else there


def kept(table: Table, id: str, text: str, metadata: Metadata) -> Any:
    """Return metadata as a row of the table keeps them.

    Raises:
        StoreRejected: there is something that the table cannot keep as it is.
    """
    if table.kept is Kept.TEXT:
        return json.dumps(dict(metadata), ensure_ascii=False)
    empty = sorted(key for key, value in metadata.items() if value is None)
    if empty:
        raise StoreRejected(
            f"the metadata key {empty[0]!r} of document {id!r} is null",
            f"table {table.places.table} keeps a key that is null as one that is missing; {_NOTHING}",
            "leave it out",
        )
    if table.kept is Kept.COLUMNS and (taken := sorted(metadata.keys() & {*table.schema.names} - {*table.rest})):
        raise StoreRejected(
            f"the metadata key {taken[0]!r} of document {id!r} cannot be kept in table {table.places.table}",
            f"its column {taken[0]} is another part of the record; {_NOTHING}",
            "give it another name",
        )
    return llama_node.written(id, text, metadata) if table.places.has_nodes else dict(metadata)


def missing(table: Table, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the metadata that the table has no field for: by key, the type that a field would need.

    Args:
        table: the table.
        rows: metadata as it would keep them.
    """
    if table.kept is Kept.TEXT:
        return {}
    import pyarrow as pa

    there = {field.name for field in table.of_metadata}
    values: dict[str, list[Any]] = {}
    for row in rows:
        for key in row.keys() - there:
            values.setdefault(key, []).append(row[key])
    try:
        return {key: pa.array(values[key]).type for key in sorted(values)}
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise StoreRejected(
            f"metadata of table {table.places.table} have values of several types under one key",
            f"{error}; {_NOTHING}",
            "give a key one type, or use a collection of undrift's own, which keeps all JSON",
        ) from error


def block(table: Table, records: Sequence[Record], metadata: Sequence[Any]) -> Any:
    """Return records as a `pyarrow.Table` that can be merged into the table.

    Args:
        table: the table, which has a field for every key.
        records: n records.
        metadata: what `kept` made of each one's metadata.

    Raises:
        StoreRejected: two have the same id, or something cannot be kept as it is.
    """
    import pyarrow as pa

    if len({record.id for record in records}) != len(records):
        raise StoreRejected("one call has two records of the same id", "nothing of it was written")
    vectors = stacked(records, dimensions=table.dimensions, metric=table.metric)
    places = table.places
    values: dict[str, Any] = {
        places.id: pa.array([record.id for record in records], pa.string()),
        places.vector: pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), table.dimensions),
        **metadata_columns(table, [record.id for record in records], metadata),
    }
    if places.text != NO_TEXT:
        values[places.text] = pa.array([record.text for record in records], pa.string())
    if places.has_nodes and "doc_id" in table.schema.names:
        values["doc_id"] = pa.array([llama_node.source_of(one) for one in metadata], pa.string())
    if table.has_tags:
        tags = [(one.tag.space, one.tag.content, one.tag.sequence) if is_tagged(one.tag) else None for one in records]
        for at, name in enumerate(TAG):
            values[name] = pa.array([None if tag is None else tag[at] for tag in tags], table.schema.field(name).type)
    return pa.table(values)


def metadata_columns(table: Table, ids: Sequence[str], metadata: Sequence[Any]) -> dict[str, Any]:
    """Return metadata as the columns that have them.

    Raises:
        StoreRejected: a value does not come back as it was.
    """
    import pyarrow as pa

    column = table.of_metadata
    if table.kept is Kept.TEXT:
        return {table.places.metadata: pa.array(metadata, column)}
    for id, one in zip(ids, metadata, strict=True):
        try:
            (back,) = pa.array([one], column).to_pylist()
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise _refused(table, id, str(error)) from error
        there = {key: value for key, value in back.items() if value is not None}
        for key in one.keys() | there.keys():
            if not _is_same(one.get(key), there.get(key)):
                field = column.field(key).type if column.get_field_index(key) >= 0 else "not there"
                raise _refused(table, id, f"the key {key!r} would change; its field is {field}")
    made = pa.array(metadata, column)
    if table.kept is Kept.COLUMNS:
        return dict(zip(table.rest, made.flatten(), strict=True))
    return {table.places.metadata: made}


def _is_same(left: Any, right: Any) -> bool:
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(_is_same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list):
        return len(left) == len(right) and all(map(_is_same, left, right))
    return isinstance(left, bool) is isinstance(right, bool) and bool(left == right)


def _refused(table: Table, id: str, why: str) -> StoreRejected:
    fields = table.of_metadata
    return StoreRejected(
        f"table {table.places.table} cannot keep the metadata of document {id!r} as they are",
        f"{why}; they have the fields {', '.join(field.name for field in fields) or 'none'}; {_NOTHING}",
        "change the metadata, or use a collection of undrift's own, which keeps all JSON",
    )
