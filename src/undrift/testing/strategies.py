"""Hypothesis strategies for what goes into a collection: ids, texts, metadata and documents that every store takes."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from undrift.domain.record import MAX_ID_BYTES, Document, canonical_text
from undrift.domain.space import Metric, Space, Truncation

#: Characters that a key may have: no surrogates, no control characters.
_PRINTED = st.characters(exclude_categories=("Cs", "Cc"))
_KEYS = st.text(_PRINTED, min_size=1, max_size=8)
_NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32) | st.integers(-(2**53), 2**53)


def document_ids() -> st.SearchStrategy[str]:
    """Return ids: any script, up to the greatest length."""
    return st.text(_PRINTED, min_size=1, max_size=40).filter(lambda id: len(id.encode()) <= MAX_ID_BYTES)


def texts() -> st.SearchStrategy[str]:
    """Return texts that can be embedded: valid Unicode, not blank."""
    return st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=60).filter(
        lambda text: bool(canonical_text(text))
    )


def metadata() -> st.SearchStrategy[dict[str, Any]]:
    """Return metadata: any JSON, nested."""
    values = st.recursive(
        st.none() | st.booleans() | _NUMBERS | st.text(_PRINTED, max_size=10),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
        max_leaves=6,
    )
    return st.dictionaries(_KEYS, values, max_size=4)


def documents(ids: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[Document]:
    """Return documents.

    Args:
        ids: where their ids come from; any id by default.
    """
    return st.builds(Document, id=ids or document_ids(), text=texts(), metadata=metadata())


def spaces() -> st.SearchStrategy[Space]:
    """Return spaces of every kind."""
    words = st.text(_PRINTED, min_size=1, max_size=12)
    return st.builds(
        Space,
        channel=words,
        model=words,
        revision=words,
        dimensions=st.integers(1, 8192),
        metric=st.sampled_from(Metric),
        normalized=st.booleans(),
        cut=st.none() | st.integers(1, 8192),
        document_prefix=st.text(_PRINTED, max_size=8),
        query_prefix=st.text(_PRINTED, max_size=8),
        document_task=st.text(_PRINTED, max_size=8),
        query_task=st.text(_PRINTED, max_size=8),
        max_tokens=st.none() | st.integers(1, 100_000),
        truncation=st.sampled_from(Truncation),
        dtype=st.sampled_from(["float32", "int8", "float16"]),
        text_form=st.integers(1, 3),
    )
