"""Whether a store can have what a migration would put there, before anything is touched."""

from __future__ import annotations

from dataclasses import dataclass

from undrift.domain.record import Entry, encode_metadata
from undrift.domain.space import Space
from undrift.domain.wording import plural
from undrift.errors import BadArgument, GateFailed, UsageError
from undrift.ports.store import Layout, StoreCapabilities, VectorStore


@dataclass(slots=True)
class Misfits:
    """Counts the documents that a store will not take, by what it declares."""

    ids: int = 0
    texts: int = 0
    metadata: int = 0

    def look(self, entry: Entry, can: StoreCapabilities) -> None:
        """Count a document for each of its parts that is too large."""
        self.ids += _exceeds(entry.id, can.max_id_bytes)
        self.texts += _exceeds(entry.text or "", can.max_text_bytes)
        if can.max_metadata_bytes is not None:
            self.metadata += _exceeds(encode_metadata(entry.id, entry.metadata), can.max_metadata_bytes)

    def warnings(self, can: StoreCapabilities) -> tuple[str, ...]:
        """Say what will be set aside, and why."""
        told = (
            (self.ids, "an id", can.max_id_bytes),
            (self.texts, "a text", can.max_text_bytes),
            (self.metadata, "metadata", can.max_metadata_bytes),
        )
        return tuple(
            f"{plural(count, 'document')} with {what} of more than {limit} bytes, which store {can.name} does not "
            "keep: to be set aside"
            for count, what, limit in told
            if count
        )


def _exceeds(text: str, limit: int | None) -> bool:
    return limit is not None and len(text.encode()) > limit


def require_fit(store: VectorStore, space: Space, *, model: str) -> None:
    """Pass when a store can hold vectors of a space.

    Raises:
        UsageError: it cannot: too many dimensions, or another metric than it has.
    """
    can = store.capabilities
    if space.dimensions > can.max_dimensions:
        raise UsageError(
            f"store {can.name} takes vectors of at most {can.max_dimensions} dimensions; model {model} has "
            f"{space.dimensions}",
            hint="set `dimensions` for the model, if it can be cut, or choose another store",
        )
    if space.metric not in can.metrics:
        names = ", ".join(sorted(metric.value for metric in can.metrics))
        raise UsageError(
            f"store {can.name} cannot compare vectors by {space.metric.value}, as model {model} needs",
            f"it can by: {names}",
        )


def require_strong_reads(*stores: VectorStore) -> None:
    """Pass when a migration can know what stands in its source and its target.

    Raises:
        GateFailed: a read of one of them may be older than what was acknowledged.
    """
    for store in stores:
        can = store.capabilities
        if not can.strong_reads:
            raise GateFailed(
                f"no migration leads from or to store {can.name}",
                "its reads may be older than a write that was acknowledged: a document could be carried over as it was "
                "before its last change, or deleted because it is not to be seen yet",
                "fill a collection of another store from where the texts come from: undrift put",
            )


def require_layout(store: VectorStore, layout: Layout) -> None:
    """Pass when the target of a migration can be where it is to be.

    Raises:
        BadArgument: the store does not have that layout.
    """
    can = store.capabilities
    if layout not in can.layouts:
        names = " or ".join(layout_word(one) for one in Layout if one in can.layouts)
        raise BadArgument(
            f"store {can.name} cannot have the target of a migration in the layout {layout_word(layout)}",
            f"it has: {names}",
            f"--layout {names.partition(' ')[0]}",
        )


def layout_word(layout: Layout) -> str:
    """Return what a layout is called in commands and answers."""
    return layout.value.replace("_", "-")
