"""`/v1/embeddings` as OpenAI began it, with what each of its many speakers adds or leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from undrift.adapters.embedders.http.dialect import Answer, Call, Side, named, vectors, whole, within
from undrift.domain.space import Space, Truncation


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavour:
    """What one speaker of the dialect calls what.

    Attributes:
        encoding: `float`, or `base64` where the speaker is known to send it.
        encoding_key: under what it is asked for.
        dimensions_key: under what shorter vectors are asked for; empty where they cannot be.
        task_key: under what it is said whether texts are documents or queries; empty where it is not.
        cut_key: under what it is said whether a longer text is cut; empty where it is not.
        cut_words: what is said there to refuse it, and to cut it.
        always: what else is in every request.
    """

    encoding: str = "float"
    encoding_key: str = "encoding_format"
    dimensions_key: str = "dimensions"
    task_key: str = ""
    cut_key: str = ""
    cut_words: tuple[Any, Any] = (False, True)
    always: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAi:
    """The dialect for one space.

    Attributes:
        space: whose vectors are asked for.
        flavour: whom they are asked from.
        encoding: how vectors are written; the flavour's own way when empty.
        path: where the endpoint is.
        calls_it: what the server calls the model, where it is not the model's name.
    """

    space: Space
    flavour: Flavour = field(default_factory=Flavour)
    encoding: str = ""
    path: str = "/embeddings"
    calls_it: str = ""

    def request(self, texts: Sequence[str], side: Side, /) -> Call:
        """Ask for vectors; for their length only where a native one is to be cut: some servers refuse the key."""
        flavour, space = self.flavour, self.space
        body: dict[str, Any] = {
            "model": self.calls_it or space.model,
            "input": list(texts),
            flavour.encoding_key: self.encoding or flavour.encoding,
            **flavour.always,
        }
        if space.cut is not None:
            body[flavour.dimensions_key] = space.cut
        task = space.document_task if side is Side.DOCUMENT else space.query_task
        if task:
            body[flavour.task_key] = task
        if flavour.cut_key:
            body[flavour.cut_key] = flavour.cut_words[space.truncation is Truncation.CUT]
        return Call(path=self.path, body=body)

    def tokens(self, body: Mapping[str, Any], _headers: Mapping[str, str], /) -> int:
        """Read what was counted."""
        return whole(within(body, "usage", "total_tokens")) or whole(within(body, "usage", "prompt_tokens"))

    def answer(self, body: Mapping[str, Any], count: int, /) -> Answer:
        """Read vectors in the order of the texts."""
        return Answer(vectors=vectors(body, count), model=named(body.get("model")))
