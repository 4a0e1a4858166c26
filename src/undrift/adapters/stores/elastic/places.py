"""Where in a document the parts of a record are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from undrift.adapters.stores.elastic.dialects import Dialect
from undrift.domain.shape import EVERYTHING_ELSE, Shape
from undrift.errors import BadConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The keys of a document under which the parts of a record are.

    Attributes:
        text: the text; `-` when it is elsewhere.
        metadata: of undrift's own, all metadata as one JSON text: exact, of any depth, and no key has a type. Of
            others, the object that has them, or `*` for whatever else the document has.
        vector: the vector.
        shape: None for undrift's own, else what the address says.
    """

    text: str
    metadata: str
    vector: str
    shape: Shape | None = None


OWN_PLACES = Places(text="text", metadata="metadata", vector="embedding")
#: The id once more, because an index does not order by its own.
ID = "id"
#: What `domain.terms` makes of the metadata, for filters.
WORDS = "filter_words"


def places_of(name: str, shape: Shape, dialect: Dialect, vectors: Mapping[str, object]) -> Places:
    """Return where the parts of a record are in an index of somebody else.

    Args:
        name: of the index.
        shape: what its address says.
        dialect: what the engine's own users call the parts.
        vectors: the vector fields that the index has; empty when it is yet to be made.

    Raises:
        BadConfig: there is no such shape, or it leaves open which vector is meant.
    """
    if shape.id or (shape.preset and shape.preset not in dialect.presets):
        raise BadConfig(
            f"collection {name} of store {dialect.name} cannot be read so",
            "the id of a document is its own, and as= can be " + " or ".join(sorted(dialect.presets)),
        )
    text, metadata, vector = dialect.presets.get(shape.preset, ("text", EVERYTHING_ELSE, ""))
    chosen = shape.vector or vector or (next(iter(vectors)) if len(vectors) == 1 else "")
    if not chosen:
        raise BadConfig(
            f"collection {name} of store {dialect.name} has {len(vectors)} vector fields",
            ", ".join(sorted(vectors)),
            f"say which one: {name}?vector=FIELD",
        )
    return Places(text=shape.text or text, metadata=shape.metadata or metadata, vector=chosen, shape=shape)
