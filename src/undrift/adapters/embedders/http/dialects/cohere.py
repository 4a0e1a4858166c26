"""Cohere's `/v2/embed`, and the same model's form on Bedrock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from undrift.adapters.embedders.http.dialect import Answer, Call, Side, stacked, whole, within
from undrift.domain.record import Vectors
from undrift.domain.space import Space, Truncation


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohere:
    """The dialect for one space."""

    space: Space

    def request(self, texts: Sequence[str], side: Side, /) -> Call:
        """Ask for vectors of one side, which Cohere wants to know."""
        return Call(path="/embed", body={"model": self.space.model, **cohere_body(self.space, texts, side)})

    def tokens(self, body: Mapping[str, Any], _headers: Mapping[str, str], /) -> int:
        """Read what is billed."""
        return whole(within(body, "meta", "billed_units", "input_tokens"))

    def answer(self, body: Mapping[str, Any], count: int, /) -> Answer:
        """Read vectors, which come in the order of the texts; the answer names no model."""
        return Answer(vectors=cohere_vectors(body, count))


def cohere_body(space: Space, texts: Sequence[str], side: Side) -> dict[str, Any]:
    """Return what is asked for, without the model."""
    body: dict[str, Any] = {
        "texts": list(texts),
        "input_type": space.document_task if side is Side.DOCUMENT else space.query_task,
        "embedding_types": ["float"],
        "truncate": "END" if space.truncation is Truncation.CUT else "NONE",
    }
    if space.cut is not None:
        body["output_dimension"] = space.cut
    return body


def cohere_vectors(body: Mapping[str, Any], count: int) -> Vectors:
    """Read the vectors of an answer, by number format or, as version 3 on Bedrock may send them, as a plain list."""
    found = body.get("embeddings")
    return stacked(found.get("float") if isinstance(found, Mapping) else found, count)
