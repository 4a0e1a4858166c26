"""Bedrock's `InvokeModel`, where every family of models has a form of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from undrift.adapters.embedders.http.dialect import Answer, Call, Dialect, Side, stacked, whole, within
from undrift.adapters.embedders.http.dialects.cohere import cohere_body, cohere_vectors
from undrift.domain.space import Space, Truncation
from undrift.errors import BadArgument

#: Where Bedrock says what it counted, whatever the model's own answer says.
_COUNTED = "x-amzn-bedrock-input-token-count"


def bedrock(space: Space) -> Dialect:
    """Return the form of a model, by its name; a region group (`us.`, `global.`) may stand in front.

    Raises:
        BadArgument: the name is of no family that is known here.
    """
    name = space.model.rpartition("/")[2]
    for family, form in _FORMS.items():
        if f".{family}" in f".{name}":
            return form(space=space)
    raise BadArgument(
        f"nobody knows here how model {space.model} of bedrock is asked",
        f"those that are known begin with {', '.join(_FORMS)}",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Titan:
    space: Space

    def request(self, texts: Sequence[str], _side: Side, /) -> Call:
        (text,) = texts
        body: dict[str, Any] = {"inputText": text}
        if "embed-text-v1" not in self.space.model:
            body |= {
                "dimensions": self.space.dimensions,
                "normalize": self.space.normalized,
                "embeddingTypes": ["float"],
            }
        return _invoke(self.space, body)

    def tokens(self, body: Mapping[str, Any], headers: Mapping[str, str], /) -> int:
        return whole(body.get("inputTextTokenCount")) or _tokens(headers)

    def answer(self, body: Mapping[str, Any], count: int, /) -> Answer:
        row = within(body, "embeddingsByType", "float") or body.get("embedding")
        return Answer(vectors=stacked([row], count))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cohere:
    space: Space

    def request(self, texts: Sequence[str], side: Side, /) -> Call:
        return _invoke(self.space, cohere_body(self.space, texts, side))

    def tokens(self, _body: Mapping[str, Any], headers: Mapping[str, str], /) -> int:
        return _tokens(headers)

    def answer(self, body: Mapping[str, Any], count: int, /) -> Answer:
        return Answer(vectors=cohere_vectors(body, count))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Nova:
    space: Space

    def request(self, texts: Sequence[str], side: Side, /) -> Call:
        (text,) = texts
        cut = "END" if self.space.truncation is Truncation.CUT else "NONE"
        asked = {
            "embeddingPurpose": self.space.document_task if side is Side.DOCUMENT else self.space.query_task,
            "embeddingDimension": self.space.dimensions,
            "text": {"truncationMode": cut, "value": text},
        }
        return _invoke(self.space, {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": asked})

    def tokens(self, _body: Mapping[str, Any], headers: Mapping[str, str], /) -> int:
        return _tokens(headers)

    def answer(self, body: Mapping[str, Any], count: int, /) -> Answer:
        found = body.get("embeddings")
        made = found if isinstance(found, list) else []
        return Answer(
            vectors=stacked([within(one, "embedding") for one in made], count),
            cut=sum(within(one, "truncatedCharLength") is not None for one in made),
        )


#: By how a model's name begins.
_FORMS: dict[str, Callable[..., Dialect]] = {
    "amazon.titan-embed": _Titan,
    "amazon.nova": _Nova,
    "cohere.embed": _Cohere,
}


def _invoke(space: Space, body: dict[str, Any]) -> Call:
    return Call(path=f"/model/{quote(space.model, safe='')}/invoke", body=body)


def _tokens(headers: Mapping[str, str]) -> int:
    counted = headers.get(_COUNTED, "")
    return int(counted) if counted.isdigit() else 0
