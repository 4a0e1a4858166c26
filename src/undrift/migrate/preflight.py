"""The facts of a migration before anything is touched: how much, what it costs, what can go wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from undrift.domain.record import Entry, content_hash, encode_metadata
from undrift.domain.route import VectorField
from undrift.domain.space import Space
from undrift.domain.wording import plural
from undrift.errors import BadArgument, GateFailed, UsageError
from undrift.flow.embed import EmbeddingDoor
from undrift.migrate.compare import is_ours
from undrift.ports.store import Layout, Part, StoreCapabilities, VectorStore

#: Documents read at a time.
_PAGE = 1000
#: Bytes beside vector and text that a record needs, roughly.
_RECORD_OVERHEAD = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a plan states.

    Attributes:
        documents: records in the serving field.
        unique_texts: texts that differ and have to be embedded; each is once.
        tokens: tokens of the unique texts.
        tokens_exact: whether the model's own tokenizer counted them.
        storage_bytes: what the target will need.
        warnings: what an operator should know.
    """

    documents: int
    unique_texts: int
    tokens: int
    tokens_exact: bool
    storage_bytes: int
    warnings: tuple[str, ...]

    def usd(self, per_million: float) -> float:
        """Return the price of the tokens."""
        return self.tokens * per_million / 1e6


def survey(
    store: VectorStore,
    field: VectorField,
    door: EmbeddingDoor,
    *,
    target: VectorField | None = None,
    into: StoreCapabilities | None = None,
    copies: bool = False,
) -> Facts:
    """Read every document of a field once and reckon up what it takes to have it in another field.

    Args:
        store: the store of the field.
        field: the field that will be read.
        door: the model of the other field.
        target: where the vectors would be put; in a collection of their own by default.
        into: what the store of the other field can do, if it is another one.
        copies: whether vectors are copied; then only texts are embedded that the tag of their record is not of.
    """
    seen: set[str] = set()
    documents = tokens = size = blank = untagged = 0
    misfits, can = Misfits(), into or store.capabilities
    exact = True
    after = ""
    while True:
        page = store.scan(field, after=after, limit=_PAGE, parts=Part.TEXT)
        fresh = []
        for entry in page:
            text = entry.text or ""
            documents += 1
            size += len(text.encode())
            blank += not text.strip()
            untagged += entry.tag is None
            misfits.look(entry, can)
            digest = content_hash(text)
            is_copied = copies and is_ours(entry, field)
            if text.strip() and digest not in seen and not is_copied:
                seen.add(digest)
                fresh.append(text)
        if fresh:
            counted, exact_now = door.count_tokens(fresh)
            tokens, exact = tokens + counted, exact and exact_now
        if len(page) < _PAGE:
            break
        after = page[-1].id
    storage = documents * door.space.dimensions * 4
    if target is None or not target.is_beside(field):
        # The texts are there once more.
        storage += documents * _RECORD_OVERHEAD + size
    return Facts(
        documents=documents,
        unique_texts=len(seen),
        tokens=tokens,
        tokens_exact=exact,
        storage_bytes=storage,
        warnings=(
            *_warnings(documents, blank, untagged, store.capabilities.scans_lag_s),
            *misfits.warnings(can),
        ),
    )


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


def _warnings(documents: int, blank: int, untagged: int, scans_lag_s: float) -> tuple[str, ...]:
    said = []
    if not documents:
        said.append("the collection is empty")
    if documents and blank == documents:
        said.append(
            "re-embedding is impossible: no record has a text; say where the texts are with `text` of the alias"
        )
    if blank:
        said.append(f"{plural(blank, 'document')} without a text, to be set aside")
    if untagged:
        said.append(f"{plural(untagged, 'record')} without a tag: nothing is known about the model they were made with")
    if scans_lag_s:
        said.append(
            f"scans of this store may miss for {scans_lag_s:g} s what another process wrote: the back-fill begins so "
            "much later"
        )
    return tuple(said)


def as_money(value: float) -> dict[str, Any]:
    """Return a price in the JSON form: there is no batch price before a provider's batch interface is used."""
    return {"online": round(value, 6), "batch": None}
