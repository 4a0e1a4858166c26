"""Ollama's own `/api/embed`: its `/v1/embeddings` cuts long texts without a word and cannot be told not to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from undrift.adapters.embedders.http.dialect import Answer, Call, Side, named, stacked, whole
from undrift.domain.space import Space, Truncation


@dataclass(frozen=True, slots=True, kw_only=True)
class Ollama:
    """The dialect for one space."""

    space: Space

    def request(self, texts: Sequence[str], _side: Side, /) -> Call:
        """Ask for vectors, and say what becomes of longer texts."""
        body: dict[str, Any] = {
            "model": self.space.model,
            "input": list(texts),
            "truncate": self.space.truncation is Truncation.CUT,
        }
        if self.space.cut is not None:
            body["dimensions"] = self.space.cut
        return Call(path="/embed", body=body)

    def tokens(self, body: Mapping[str, Any], _headers: Mapping[str, str], /) -> int:
        """Read what was counted."""
        return whole(body.get("prompt_eval_count"))

    def answer(self, body: Mapping[str, Any], count: int, /) -> Answer:
        """Read vectors, which come in the order of the texts."""
        return Answer(vectors=stacked(body.get("embeddings"), count), model=named(body.get("model")))
