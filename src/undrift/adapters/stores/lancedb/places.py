"""Where in a table the parts of a record are, of undrift's own tables and of those that other programs made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from undrift.domain.shape import EVERYTHING_ELSE, OWN, Shape, TagPlace, split_address
from undrift.errors import BadConfig


class Kept(Enum):
    """How a table keeps the metadata of a record."""

    #: In a column of LanceDB's type JSON.
    JSON = "json"
    #: As JSON text in a column of strings, as `langchain-lancedb` does.
    TEXT = "text"
    #: In columns of their own, as programs do that use LanceDB without a framework.
    COLUMNS = "columns"
    #: In a struct with a field for each key, as LlamaIndex and `langchain-community` do.
    STRUCT = "struct"


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The columns that have the parts of a record.

    Attributes:
        table: the name of the table.
        id: the column of the id.
        text: the column of the text; `-` when it is elsewhere.
        metadata: the column of all metadata, or `*` for whatever other columns there are.
        vector: the column of the vector.
        shape: what the address says; None for undrift's own.
    """

    table: str
    id: str = "id"
    text: str = "text"
    metadata: str = "metadata"
    vector: str = "vector"
    shape: Shape | None = None

    @property
    def tags_in_row(self) -> bool:
        """Whether a record has its tag beside it."""
        return self.shape is None or self.shape.tags is TagPlace.PAYLOAD

    @property
    def has_nodes(self) -> bool:
        """Whether the records are nodes of LlamaIndex."""
        return self.shape is not None and self.shape.preset == "llama_index"


def quoted(column: str) -> str:
    """Return a column as the engine's SQL names it, which takes other capital letters for small ones."""
    return f"`{column}`"


#: Software whose tables can be read and written.
PRESETS = ("langchain", "llama_index")


def places_of(collection: str) -> Places:
    """Return where the parts of a record are, as an address says.

    Raises:
        BadConfig: there is no such shape.
    """
    table, shape = split_address(collection)
    if any("`" in word for word in (shape.id, shape.text, shape.metadata, shape.vector)):
        raise BadConfig(f"collection {collection!r} names a column with a backtick, which LanceDB cannot be asked for")
    if replace(shape, tags=TagPlace.PAYLOAD) == OWN:
        return Places(table=table)
    if shape.preset and (shape.preset not in PRESETS or shape.metadata == EVERYTHING_ELSE):
        raise BadConfig(
            f"collection {collection} of store lancedb cannot be read so",
            f"as= can be {' or '.join(PRESETS)}, whose metadata are in one column",
            f"write {table}?as=langchain, or {table}?text=COLUMN&vector=COLUMN&metadata=*",
        )
    return Places(
        table=table,
        id=shape.id or "id",
        text=shape.text or "text",
        metadata=shape.metadata or "metadata",
        vector=shape.vector or "vector",
        shape=shape,
    )
