"""Where a table keeps what a record has: undrift's own tables, those of LangChain and LlamaIndex, and any other."""

from __future__ import annotations

from dataclasses import dataclass, replace

from undrift.adapters.stores.pgvector.ids import BY_CODE_POINT, KINDS, IdKind
from undrift.adapters.stores.pgvector.tables import (
    CLASSES,
    FORMAT,
    Column,
    Found,
    Table,
    literal,
    quoted,
)
from undrift.domain.shape import EVERYTHING_ELSE, NO_TEXT, OWN, Shape, TagPlace, split_address
from undrift.domain.space import Metric
from undrift.errors import BadConfig

LANGCHAIN, LLAMA_INDEX = "langchain", "llama_index"
#: The tables of LangChain's older layout: one row for each collection, and all of their records.
OLD_COLLECTIONS, OLD_RECORDS = "langchain_pg_collection", "langchain_pg_embedding"
#: The columns of the software whose tables are known.
_PRESETS = {
    LANGCHAIN: Shape(id="langchain_id", text="content", metadata="langchain_metadata", vector="embedding"),
    LLAMA_INDEX: Shape(id="node_id", text="text", metadata="metadata_", vector="embedding"),
}
_OLD = Shape(id="id", text="document", metadata="cmetadata", vector="embedding")
#: What the comment on a table of ours begins with; the metric stands nowhere else.
_COMMENT = "undrift collection, format "
#: What the comment on a column with vectors begins with.
_VECTORS = "undrift vectors, format "
#: Tables of LlamaIndex are called after what it calls them.
_LLAMA = "data_"
_TAG = ("space", "content", "sequence")
_MAIN = "embedding"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A table, and where in it the parts of a record are said to be.

    Attributes:
        schema: its schema.
        table: its name.
        shape: what the address says of it, with what its preset adds.
        is_own: whether it is undrift's own.
        told: the address, for messages.
    """

    schema: str
    table: str
    shape: Shape
    is_own: bool
    told: str

    @property
    def name(self) -> str:
        """The table with its schema, quoted."""
        return f"{quoted(self.schema)}.{quoted(self.table)}"

    @property
    def vector(self) -> str:
        """The column of the vector; empty where that is not said."""
        return self.shape.vector or (_MAIN if self.is_own else "")

    @property
    def tag(self) -> tuple[str, str, str]:
        """The names of the columns of the tag."""
        return tag_columns(self.vector, is_own=self.is_own)


def tag_columns(vector: str, *, is_own: bool) -> tuple[str, str, str]:
    """Return the names of the columns in which the tag of a vector is."""
    space, content, sequence = _TAG
    if is_own and vector == _MAIN:
        return space, content, sequence
    return f"{vector}_{space}", f"{vector}_{content}", f"{vector}_{sequence}"


def place_of(collection: str, own: str, others: str) -> Place:
    """Return the place that an address means.

    Args:
        collection: the address.
        own: the schema of undrift's own tables.
        others: the schema of other tables, where the address does not say it as `schema.table`.

    Raises:
        BadConfig: the address asks for a shape that is not known.
    """
    name, shape = split_address(collection)
    if replace(shape, vector="", tags=TagPlace.PAYLOAD) == OWN:
        return Place(schema=own, table=name, shape=shape, is_own=True, told=collection)
    schema, dot, table = name.partition(".")
    schema, table = (schema, table) if dot else (others, name)
    if shape.preset:
        known = _PRESETS.get(shape.preset)
        if known is None:
            raise BadConfig(
                f"collection {collection} has the shape {shape.preset!r}, which store pgvector does not know",
                f"it knows {', '.join(_PRESETS)}",
                "name the columns instead: TABLE?id=…&text=…&metadata=…&vector=…",
            )
        shape = _filled(shape, known)
        if shape.preset == LLAMA_INDEX and not table.startswith(_LLAMA):
            table = _LLAMA + table.lower()
    return Place(schema=schema, table=table, shape=shape, is_own=False, told=collection)


def old_place(place: Place) -> Place:
    """Return the place of a collection in LangChain's older layout."""
    asked = split_address(place.told)[1]
    return replace(place, table=OLD_RECORDS, shape=_filled(asked, _OLD))


def own_table(place: Place, found: Found) -> Table | int | None:
    """Return the field in a table of undrift's own, the number of its format if another one, or None if it is not one.

    A column that is still being made is no field yet.
    """
    if not found.comment.startswith(_COMMENT):
        return None
    format, _, metric = found.comment.removeprefix(_COMMENT).partition(", metric ")
    if format != str(FORMAT):
        return int(format)
    column = found.columns.get(place.vector)
    if column is None or not column.is_vector or (place.vector != _MAIN and _metric_said(column) is None):
        return None
    table = _table(place, found, column)
    said = _metric_said(column) or Metric(metric)
    return replace(table, metric=said, tag=_quoted_tag(place.tag))


def foreign_table(place: Place, found: Found, *, part: str | None = None) -> Table | None:
    """Return the field in a table that somebody else made; None when it has no such vector.

    Args:
        place: the table, and where in it things are said to be.
        found: the table as it is.
        part: the number of the collection in it, if there are several.

    Raises:
        BadConfig: the id, text or metadata are not where they are said to be, or the ids cannot be used.
    """
    shape, columns = place.shape, found.columns
    if not shape.vector:
        every = [name for name, column in columns.items() if column.is_vector]
        # A migration in place adds a column, beside which its source goes on being the one that nobody had to name.
        there = [name for name in every if not _is_made(columns[name])] or every
        if len(there) != 1:
            raise BadConfig(
                f"table {place.name} has {len(there)} columns with vectors",
                f"they are {', '.join(there)}" if there else "its columns are " + ", ".join(columns),
                f"say which: {place.told}&vector=COLUMN",
            )
        shape = replace(shape, vector=there[0])
        place = replace(place, shape=shape)
    column = columns.get(shape.vector)
    if column is None or not column.is_vector or _is_being_made(column):
        return None
    id, kind = _id_of(place, found)
    text = None if shape.text == NO_TEXT else _required(place, found, shape.text or "text", "text").name
    metadata, rest = _metadata_of(place, found, {id.name, text or "", shape.vector})
    tag = place.tag
    return replace(
        _table(place, found, column),
        metric=_metric_said(column) or _metric_of(column) or Metric.COSINE,
        id=quoted(id.name),
        ids=kind,
        unique=id.unique,
        text=None if text is None else quoted(text),
        metadata=None if metadata is None else quoted(metadata.name),
        is_json=metadata is not None and metadata.type == "json",
        is_sure=metadata is not None and metadata.required,
        has_nodes=shape.preset == LLAMA_INDEX,
        rest=rest,
        tag=_quoted_tag(tag) if shape.tags is TagPlace.PAYLOAD and all(name in columns for name in tag) else None,
        part=part,
    )


def comment_on_table(name: str, metric: Metric) -> str:
    """Return the statement that makes a table one of undrift's own."""
    return f"COMMENT ON TABLE {name} IS '{_COMMENT}{FORMAT}, metric {metric.value}'"


def comment_on_vectors(name: str, vector: str, metric: Metric | None) -> str:
    """Return the statement that says what the vectors of a column are searched by; None while it is being made."""
    said = _BEING_MADE if metric is None else f"{_VECTORS}{FORMAT}, metric {metric.value}"
    return f"COMMENT ON COLUMN {name}.{quoted(vector)} IS {literal(said)}"


_BEING_MADE = "undrift vectors, being made"


def is_own(found: Found) -> bool:
    """Whether a table was made by undrift, in its own shape."""
    return found.comment.startswith(_COMMENT)


def is_left_half_made(found: Found, vector: str) -> bool:
    """Whether a column with vectors was begun by a process that died."""
    column = found.columns.get(vector)
    return column is not None and _is_being_made(column)


def _is_made(column: Column) -> bool:
    """Whether undrift has put a column into the table of somebody else."""
    return _is_being_made(column) or _metric_said(column) is not None


def _is_being_made(column: Column) -> bool:
    return column.comment == _BEING_MADE


def _metric_said(column: Column) -> Metric | None:
    said = (column.comment or "").removeprefix(f"{_VECTORS}{FORMAT}, metric ")
    return Metric(said) if said in {metric.value for metric in Metric} else None


def _metric_of(column: Column) -> Metric | None:
    """Return what an index on the column is for."""
    return next((metric for metric, name in CLASSES.items() if (column.operators or "").endswith(f"_{name}")), None)


def _table(place: Place, found: Found, column: Column) -> Table:
    assert column.element is not None
    others = tuple(name for name, one in found.columns.items() if one.is_vector and name != column.name)
    return Table(
        number=found.number,
        name=place.name,
        home=quoted(column.home),
        element=column.element,
        dimensions=column.dimensions,
        metric=Metric.COSINE,
        kind=column.type,
        vector=quoted(column.name),
        others=others,
    )


def _id_of(place: Place, found: Found) -> tuple[Column, IdKind]:
    keys = [column for column in found.columns.values() if column.primary]
    named = split_type(place.shape.id)[0]
    if not named and len(keys) != 1:
        what = f"its primary key has {len(keys)} columns" if keys else "it has no primary key"
        raise _unusable(place, f"no single column of it is the id: {what}")
    id = _required(place, found, named or keys[0].name, "id")
    kind = KINDS.get(id.type)
    if kind is None:
        raise _unusable(place, f"its column {id.name} is of the type {id.type}, and ids are texts, UUIDs or integers")
    if not id.unique and place.shape.preset != LLAMA_INDEX:
        part = ": it is only a part of the key" if id.primary else ""
        raise _unusable(place, f"two rows of it may have the same {id.name}{part}")
    if kind is IdKind.LOCALE and id.collation in BY_CODE_POINT:
        kind = IdKind.TEXT
    return id, kind


def _metadata_of(place: Place, found: Found, taken: set[str]) -> tuple[Column | None, tuple[str, ...]]:
    named = place.shape.metadata
    column = found.columns.get(named or "metadata")
    if named != EVERYTHING_ELSE and (named or (column is not None and column.type in {"json", "jsonb"})):
        column = _required(place, found, named or "metadata", "metadata")
        if column.type not in {"json", "jsonb"}:
            raise _unusable(place, f"its column {column.name} is of the type {column.type}, and metadata are json")
        return column, ()
    vectors = [name for name, one in found.columns.items() if one.is_vector]
    tags = {tag for vector in vectors for tag in tag_columns(vector, is_own=False)}
    rest = (name for name, one in found.columns.items() if not one.is_vector and not one.generated)
    return None, tuple(name for name in rest if name not in taken | tags)


def split_type(id: str) -> tuple[str, str]:
    """Return the column of the id and the type that it is made with, of `column::type`."""
    name, _, type = id.partition("::")
    return name, type


def _required(place: Place, found: Found, name: str, part: str) -> Column:
    column = found.columns.get(name)
    if column is None:
        raise _unusable(place, f"it has no column {name} for the {part}; its columns are {', '.join(found.columns)}")
    return column


def _unusable(place: Place, why: str) -> BadConfig:
    return BadConfig(
        f"table {place.schema}.{place.table} cannot be used as the collection {place.told}",
        why,
        f"{place.schema}.{place.table}?id=COLUMN&text=COLUMN&metadata=COLUMN&vector=COLUMN",
    )


def _filled(shape: Shape, known: Shape) -> Shape:
    return replace(
        shape,
        id=shape.id or known.id,
        text=shape.text or known.text,
        metadata=shape.metadata or known.metadata,
        vector=shape.vector or known.vector,
    )


def _quoted_tag(names: tuple[str, str, str]) -> tuple[str, str, str]:
    space, content, sequence = map(quoted, names)
    return space, content, sequence
