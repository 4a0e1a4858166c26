"""The Gemini API's `batchEmbedContents`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from undrift.adapters.embedders.http.dialect import Answer, Call, Side, stacked, whole, within
from undrift.domain.space import Space


@dataclass(frozen=True, slots=True, kw_only=True)
class Gemini:
    """The dialect for one space.

    Each text is a request of its own in the batch: several parts of one content would become a single vector.
    """

    space: Space

    @property
    def _name(self) -> str:
        return f"models/{self.space.model}"

    def request(self, texts: Sequence[str], side: Side, /) -> Call:
        """Ask for vectors; a task only where the space has one, because newer models ignore it silently."""
        task = self.space.document_task if side is Side.DOCUMENT else self.space.query_task
        asked: dict[str, Any] = {"taskType": task} if task else {}
        if self.space.cut is not None:
            asked["outputDimensionality"] = self.space.cut
        requests = [{"model": self._name, "content": {"parts": [{"text": text}]}, **asked} for text in texts]
        return Call(path=f"/{self._name}:batchEmbedContents", body={"requests": requests})

    def tokens(self, body: Mapping[str, Any], _headers: Mapping[str, str], /) -> int:
        """Read what was counted; older models say nothing."""
        return whole(within(body, "usageMetadata", "promptTokenCount"))

    def answer(self, body: Mapping[str, Any], count: int, /) -> Answer:
        """Read vectors, which come in the order of the texts; the answer names no model."""
        found = body.get("embeddings")
        rows = [within(item, "values") for item in found] if isinstance(found, list) else None
        return Answer(vectors=stacked(rows, count))

    def count_request(self, text: str) -> Call:
        """Ask how many tokens a text has: a longer one than the model takes would be cut without a word."""
        return Call(path=f"/{self._name}:countTokens", body={"contents": [{"parts": [{"text": text}]}]})

    def counted(self, body: Mapping[str, Any]) -> int:
        """Read the count."""
        tokens = body.get("totalTokens")
        if not isinstance(tokens, int):
            raise ValueError("it has no `totalTokens`")
        return tokens
