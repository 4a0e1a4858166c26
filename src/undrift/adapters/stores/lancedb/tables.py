"""The tables of collections that undrift makes: one each, with everything of a document in its row."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from undrift.domain.space import Metric
from undrift.errors import BadArgument, StoreUnavailable

#: How the tables are laid out; another number means that another version of undrift made them.
FORMAT = "1"
#: What LanceDB calls the ways to compare.
DISTANCES = {Metric.COSINE: "cosine", Metric.DOT: "dot", Metric.L2: "l2"}
#: The longest vector that the tests have kept and searched; the engine itself names no limit.
MOST_DIMENSIONS = 65_536
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
    """

    handle: Any
    schema: Any
    dimensions: int
    metric: Metric


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
    if not 1 <= dimensions <= MOST_DIMENSIONS:
        raise BadArgument(
            f"collection {name} cannot have {dimensions} dimensions",
            f"store lancedb takes 1 to {MOST_DIMENSIONS}",
            "choose a model with fewer dimensions, or another store",
        )


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


def table_from(handle: Any, schema: Any, collection: str) -> Table | None:
    """Return a table that undrift made, or None if somebody else did.

    Raises:
        StoreUnavailable: another version of undrift made it.
    """
    said = schema.metadata or {}
    found = said.get(_FORMAT_KEY, b"").decode()
    if not found:
        return None
    if found != FORMAT:
        raise StoreUnavailable(
            f"collection {collection} has been made by another version of undrift",
            f"its format is {found}, this version knows {FORMAT}",
            "pip install --upgrade undrift",
        )
    return Table(
        handle=handle,
        schema=schema,
        dimensions=schema.field("vector").type.list_size,
        metric=Metric(said[_METRIC_KEY].decode()),
    )
