"""The tables of collections that undrift makes: one each, with everything of a document in its row."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from undrift.adapters import llama_node
from undrift.adapters.asked import require_dimensions
from undrift.adapters.stores.lancedb.places import Kept, Places
from undrift.domain.shape import EVERYTHING_ELSE, NO_TEXT
from undrift.domain.space import Metric
from undrift.errors import BadArgument, StoreRejected, StoreUnavailable

#: How the tables are laid out; another number means that another version of undrift made them.
FORMAT = "1"
#: What LanceDB calls the ways to compare.
DISTANCES = {Metric.COSINE: "cosine", Metric.DOT: "dot", Metric.L2: "l2"}
#: The longest vector that the tests have kept and searched; the engine itself names no limit.
MOST_DIMENSIONS = 65_536
#: The tag of a record in a table that another program made; columns that it does not know, and which may be empty.
TAG = ("undrift_space", "undrift_content", "undrift_sequence")
#: Columns of a row without its text and its vector.
COLUMNS = ("id", "metadata", "space", "content", "sequence")
_FORMAT_KEY, _METRIC_KEY = b"undrift.format", b"undrift.metric"
#: Without it, writers of several processes that insert the same id at once leave two rows of it.
_PRIMARY_KEY = {b"lance-schema:unenforced-primary-key": b"true"}
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,200}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A collection as it is now.

    Attributes:
        handle: LanceDB's own table, of the newest version when it was opened.
        schema: the schema of its rows, a `pyarrow.Schema`.
        dimensions: of its vectors.
        metric: what it is searched by.
        places: the columns of the parts of a record.
        kept: how it keeps metadata.
        is_ours: whether undrift made it, for itself or in the shape of another program.
        rest: the columns that are the metadata, where these have columns of their own.
    """

    handle: Any
    schema: Any
    dimensions: int
    metric: Metric
    places: Places
    kept: Kept = Kept.JSON
    is_ours: bool = True
    rest: tuple[str, ...] = ()

    @property
    def of_metadata(self) -> Any:
        """The type of all metadata of a record, a `pyarrow` one."""
        import pyarrow as pa

        if self.kept is Kept.COLUMNS:
            return pa.struct([self.schema.field(name) for name in self.rest])
        return self.schema.field(self.places.metadata).type

    @property
    def is_own(self) -> bool:
        """Whether it has undrift's own shape."""
        return self.places.shape is None

    @property
    def has_tags(self) -> bool:
        """Whether it has the columns of a tag that a foreign table may have."""
        return self.places.tags_in_row and set(TAG) <= set(self.schema.names)


def require_creatable(name: str, *, dimensions: int) -> None:
    """Pass when there can be such a collection.

    Raises:
        BadArgument: LanceDB takes no such name, or no such vectors.
    """
    if not _NAME.fullmatch(name):
        raise BadArgument(
            f"a collection of store lancedb cannot be called {name!r}",
            "its name has 1 to 200 ASCII letters, digits, underscores, hyphens and periods",
            "choose another name",
        )
    require_dimensions(name, dimensions, most=MOST_DIMENSIONS, who="store lancedb")


def schema(dimensions: int, metric: Metric) -> Any:
    """Return the schema of a new table."""
    import pyarrow as pa

    fields = [
        pa.field("id", pa.string(), nullable=False, metadata=_PRIMARY_KEY),
        pa.field("text", pa.string(), nullable=False),
        pa.field("metadata", pa.json_()),
        pa.field("space", pa.string(), nullable=False),
        pa.field("content", pa.string(), nullable=False),
        pa.field("sequence", pa.int64(), nullable=False),
        # New with every write of the row; a change of metadata is made to the very row that it was made of.
        pa.field("revision", pa.int64()),
        pa.field("vector", pa.list_(pa.float32(), dimensions), nullable=False),
    ]
    return pa.schema(fields, metadata={_FORMAT_KEY: FORMAT.encode(), _METRIC_KEY: metric.value.encode()})


def foreign_schema(places: Places, dimensions: int, metric: Metric) -> Any:
    """Return the schema of a new table in the shape that another program gives its own."""
    import pyarrow as pa

    if places.has_nodes:
        keys = (llama_node.NODE, llama_node.TYPE, *llama_node.REFERENCES)
        metadata = pa.struct([pa.field(key, pa.string()) for key in keys])
    else:
        metadata = pa.string()
    fields = [pa.field(places.id, pa.string())]
    if places.has_nodes:
        fields.append(pa.field("doc_id", pa.string()))
    fields.append(pa.field(places.vector, pa.list_(pa.float32(), dimensions)))
    if places.text != NO_TEXT:
        fields.append(pa.field(places.text, pa.string()))
    if places.metadata != EVERYTHING_ELSE:
        fields.append(pa.field(places.metadata, metadata))
    if places.tags_in_row:
        fields += tag_fields()
    return pa.schema(fields, metadata={_METRIC_KEY: metric.value.encode()})


def tag_fields() -> list[Any]:
    """Return the columns of a tag in a table that another program made."""
    import pyarrow as pa

    return [pa.field(name, pa.int64() if name == TAG[2] else pa.string()) for name in TAG]


def table_from(handle: Any, schema: Any, places: Places, *, searched_by: Metric | None = None) -> Table | None:
    """Return a table as its address says that it is, or None if it has undrift's name and somebody else made it.

    Args:
        handle: LanceDB's own table.
        schema: of its rows.
        places: the columns of the parts of a record.
        searched_by: what an index of the vectors says that they are compared by.

    Raises:
        StoreUnavailable: another version of undrift made it.
        StoreRejected: it lacks a column, or has one of another type.
    """
    said = schema.metadata or {}
    found = said.get(_FORMAT_KEY, b"").decode()
    if places.shape is not None:
        return _foreign(handle, schema, places, searched_by)
    if not found:
        return None
    if found != FORMAT:
        raise StoreUnavailable(
            f"collection {places.table} has been made by another version of undrift",
            f"its format is {found}, this version knows {FORMAT}",
            "pip install --upgrade undrift",
        )
    return Table(
        handle=handle,
        schema=schema,
        dimensions=schema.field("vector").type.list_size,
        metric=Metric(said[_METRIC_KEY].decode()),
        places=places,
    )


def _foreign(handle: Any, schema: Any, places: Places, searched_by: Metric | None) -> Table:
    from pyarrow import types

    said = (schema.metadata or {}).get(_METRIC_KEY, b"").decode()
    column = {field.name: field.type for field in schema}
    if _FORMAT_KEY in (schema.metadata or {}):
        raise StoreRejected(
            f"table {places.table} is one of undrift's own", "it has no other shape", f"name it {places.table}"
        )
    faults = [
        f"{name} is {column.get(name, 'not there')}"
        for name, fits in (
            (places.id, types.is_string),
            (places.text, types.is_string),
            (places.vector, lambda kind: types.is_fixed_size_list(kind) and types.is_float32(kind.value_type)),
            (places.metadata, lambda kind: types.is_string(kind) or types.is_struct(kind)),
        )
        if name not in {NO_TEXT, EVERYTHING_ELSE} and not (name in column and fits(column[name]))
    ]
    rest: tuple[str, ...] = ()
    if places.metadata == EVERYTHING_ELSE:
        taken = {places.id, places.text, places.vector, *TAG}
        rest = tuple(name for name, kind in column.items() if name not in taken and not _is_vector(kind))
        faults += [f"{name} is {column[name]}, which no metadata are" for name in rest if not _is_json(column[name])]
    if faults:
        raise StoreRejected(
            f"table {places.table} does not look as its address says",
            f"{'; '.join(faults)}; its columns are {', '.join(column)}",
            f"name its columns: {places.table}?id=COLUMN&text=COLUMN&vector=COLUMN&metadata=COLUMN\n"
            "metadata=* is all other columns",
        )
    return Table(
        handle=handle,
        schema=schema,
        dimensions=column[places.vector].list_size,
        # LanceDB compares by distance where nobody says otherwise, and so do LangChain and LlamaIndex.
        metric=Metric(said) if said else searched_by or Metric.L2,
        places=places,
        kept=_kept(column.get(places.metadata)),
        is_ours=bool(said),
        rest=rest,
    )


def _kept(kind: Any) -> Kept:
    from pyarrow import types

    return Kept.COLUMNS if kind is None else Kept.TEXT if types.is_string(kind) else Kept.STRUCT


def _is_vector(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_fixed_size_list(kind) and types.is_floating(kind.value_type))


def _is_json(kind: Any) -> bool:
    """Whether values of a type are what JSON has."""
    from pyarrow import types

    if types.is_struct(kind):
        return all(_is_json(part.type) for part in kind)
    if types.is_list(kind) or types.is_large_list(kind):
        return _is_json(kind.value_type)
    fits = (types.is_string, types.is_large_string, types.is_integer, types.is_floating, types.is_boolean)
    return any(test(kind) for test in fits)
