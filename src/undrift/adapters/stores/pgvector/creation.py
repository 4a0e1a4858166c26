"""The statements that make and drop tables, columns and indexes of vector fields."""

from __future__ import annotations

import hashlib

from undrift.adapters.asked import require_dimensions
from undrift.adapters.stores.pgvector import shapes, tables
from undrift.adapters.stores.pgvector.shapes import Place, comment_on_table, comment_on_vectors, split_type
from undrift.adapters.stores.pgvector.tables import CLASSES, Found, Hnsw, Table, indexed, quoted, unquoted
from undrift.domain.shape import EVERYTHING_ELSE, NO_TEXT, TagPlace
from undrift.domain.space import Metric
from undrift.errors import BadArgument, BadConfig

#: What an id can be made as.
_ID_TYPES = {"": 'text COLLATE "C"', "text": 'text COLLATE "C"', "uuid": "uuid", "bigint": "bigint"}


def require_creatable(place: Place, *, dimensions: int, most: int, index: Hnsw | None) -> None:
    """Pass when there can be such a field.

    Raises:
        BadArgument: PostgreSQL takes no such name, or pgvector no such vectors.
        BadConfig: the address does not say enough to make a table.
    """
    size = len(place.table.encode(errors="replace"))
    if not place.table or "\0" in place.table or size > tables.LONGEST_NAME:
        raise BadArgument(
            f"a collection of store pgvector cannot be called {place.table!r}",
            f"it is the name of a table, and has 1 to {tables.LONGEST_NAME} bytes; this one has {size}",
            "choose a shorter name",
        )
    longest = max(len(name.encode(errors="replace")) for name in place.tag)
    if place.vector and ("\0" in place.vector or longest > tables.LONGEST_NAME):
        raise BadArgument(
            f"a vector of store pgvector cannot be called {place.vector!r}",
            f"it is the name of a column, and with the names for its tag it has at most {tables.LONGEST_NAME} bytes",
            "choose a shorter name",
        )
    more = f" with an index, and up to {tables.MOST} without" if index is not None else ""
    require_dimensions(place.told, dimensions, most=most, who="store pgvector", more=more)


def creation(place: Place, home: str, dimensions: int, metric: Metric) -> list[str]:
    """Return the statements that make a table of a shape, with nothing in it."""
    vector = place.vector or "embedding"
    said = comment_on_vectors(place.name, vector, metric)
    if place.is_own:
        tag = _tag_of(place, " NOT NULL")
        return [
            f'CREATE TABLE {place.name} (id text COLLATE "C" PRIMARY KEY, text text NOT NULL, metadata jsonb NOT NULL '
            f"CHECK (jsonb_typeof(metadata) = 'object'), {tag}, "
            f"{quoted(vector)} {home}.vector({dimensions}) NOT NULL)",
            comment_on_table(place.name, metric),
            *([] if vector == "embedding" else [said]),
        ]
    shape = place.shape
    name, type = split_type(shape.id or "id")
    if type not in _ID_TYPES or shape.metadata == EVERYTHING_ELSE or shape.text == NO_TEXT:
        raise BadConfig(
            f"no table can be made for collection {place.told}",
            f"an id can be made as {', '.join(filter(None, _ID_TYPES))}, and text and metadata need a column each",
            "migrate in the same table: --layout in-place",
        )
    key = f"{quoted(name)} {_ID_TYPES[type]} PRIMARY KEY"
    text, metadata, more = shape.text or "text", f"{quoted(shape.metadata or 'metadata')} jsonb", []
    if shape.preset == shapes.LANGCHAIN:
        metadata = f"{quoted(shape.metadata)} json"
    if shape.preset == shapes.LLAMA_INDEX:
        # As that software makes it: it writes a node that it has written before into another row.
        key, metadata = f'"id" bigserial PRIMARY KEY, {quoted(name)} varchar', f"{quoted(shape.metadata)} json"
        more = [
            f"CREATE INDEX ON {place.name} ({quoted(name)})",
            f"CREATE INDEX ON {place.name} (({quoted(shape.metadata)} ->> 'ref_doc_id'))",
        ]
    tag = f", {_tag_of(place)}" if shape.tags is TagPlace.PAYLOAD else ""
    return [
        f"CREATE TABLE {place.name} ({key}, {quoted(text)} text NOT NULL, {metadata}, "
        f"{quoted(vector)} {home}.vector({dimensions}){tag})",
        comment_on_vectors(place.name, vector, metric),
        *more,
    ]


def addition(place: Place, there: Found, home: str, dimensions: int) -> list[str]:
    """Return the statements that make room for a vector in a table; they take no time that grows with it."""
    changes = [f"ADD COLUMN {quoted(place.vector)} {home}.vector({dimensions})"]
    if place.is_own or place.shape.tags is TagPlace.PAYLOAD:
        changes += [f"ADD COLUMN IF NOT EXISTS {one}" for one in _tag_of(place).split(", ")]
    # Who writes through the new field makes rows that have no vector in the others.
    vectors = [name for name, column in there.columns.items() if column.is_vector]
    for vector in vectors:
        for name in (vector, *shapes.tag_columns(vector, is_own=place.is_own)):
            column = there.columns.get(name)
            if column is not None and column.required:
                changes.append(f"ALTER COLUMN {quoted(name)} DROP NOT NULL")
    return [
        f"ALTER TABLE {place.name} {', '.join(changes)}",
        comment_on_vectors(place.name, place.vector, None),
    ]


def adjustment(place: Place, table: Table) -> list[str]:
    """Return the statements that give a table columns for the tag of a field."""
    names = shapes.tag_columns(unquoted(table.vector), is_own=False)
    columns = ", ".join(f"ADD COLUMN IF NOT EXISTS {one}" for one in _typed(names))
    return [f"ALTER TABLE {place.name} {columns}"]


def removal(table: Table) -> list[str]:
    """Return the statements that drop a table, or only the columns of one field."""
    if not table.others:
        return [f"DROP TABLE {table.name}"]
    columns = ", ".join(f"DROP COLUMN {name}" for name in (table.vector, *(table.tag or ())))
    return [f"ALTER TABLE {table.name} {columns}"]


def indexing(index: Hnsw, place: Place, home: str, dimensions: int, metric: Metric) -> str:
    """Return the statement that makes the index of a new table; long vectors are indexed as halves."""
    return f"CREATE INDEX ON {_indexed(index, place, home, dimensions, metric)}"


def indexing_meanwhile(index: Hnsw, place: Place, home: str, dimensions: int, metric: Metric) -> list[str]:
    """Return the statements that make the index of a new column while others write, each by itself."""
    # A name of its own: what a process has begun that died is not good for anything.
    digest = hashlib.blake2b(f"{place.table}/{place.vector}".encode(), digest_size=8).hexdigest()
    name = f"undrift_{digest}"
    return [
        f"DROP INDEX CONCURRENTLY IF EXISTS {quoted(place.schema)}.{quoted(name)}",
        f"CREATE INDEX CONCURRENTLY {quoted(name)} ON {_indexed(index, place, home, dimensions, metric)}",
    ]


def _indexed(index: Hnsw, place: Place, home: str, dimensions: int, metric: Metric) -> str:
    kind = "vector" if dimensions <= tables.MOST_INDEXED else "halfvec"
    return (
        f"{place.name} USING hnsw ({indexed(quoted(place.vector or 'embedding'), home, dimensions)} "
        f"{home}.{kind}_{CLASSES[metric]}) WITH (m = {index.m}, ef_construction = {index.ef_construction})"
    )


def _tag_of(place: Place, more: str = "") -> str:
    return ", ".join(f"{one}{more}" for one in _typed(place.tag))


def _typed(names: tuple[str, str, str]) -> list[str]:
    space, content, sequence = map(quoted, names)
    return [f"{space} text", f"{content} text", f"{sequence} bigint"]
