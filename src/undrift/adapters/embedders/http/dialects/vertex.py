"""Vertex AI's `predict` for Google's embedding models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from undrift.adapters.embedders.http.dialect import Answer, Call, Side, stacked, whole, within
from undrift.domain.space import Space, Truncation


@dataclass(frozen=True, slots=True, kw_only=True)
class Vertex:
    """The dialect for one space, project and region."""

    space: Space
    project: str
    region: str

    def request(self, texts: Sequence[str], side: Side, /) -> Call:
        """Ask for vectors; `autoTruncate` is said, because Vertex cuts by default."""
        task = self.space.document_task if side is Side.DOCUMENT else self.space.query_task
        asked = {"task_type": task} if task else {}
        parameters: dict[str, Any] = {"autoTruncate": self.space.truncation is Truncation.CUT}
        if self.space.cut is not None:
            parameters["outputDimensionality"] = self.space.cut
        return Call(
            path=f"/projects/{self.project}/locations/{self.region}/publishers/google/models/{self.space.model}:predict",
            body={"instances": [{"content": text, **asked} for text in texts], "parameters": parameters},
        )

    def tokens(self, body: Mapping[str, Any], _headers: Mapping[str, str], /) -> int:
        """Add up what was counted for each text; numbers arrive as floats."""
        return sum(whole(within(one, "statistics", "token_count")) for one in _made(body))

    def answer(self, body: Mapping[str, Any], count: int, /) -> Answer:
        """Read vectors in the order of the texts, and how many texts were cut."""
        made = _made(body)
        return Answer(
            vectors=stacked([within(one, "values") for one in made], count),
            cut=sum(within(one, "statistics", "truncated") is True for one in made),
        )


def _made(body: Mapping[str, Any]) -> list[Any]:
    found = body.get("predictions")
    return [within(item, "embeddings") for item in found] if isinstance(found, list) else []
