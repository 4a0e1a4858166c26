"""What texts become before they are embedded, what becomes of them, and why some have no vector."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from undrift.domain.record import Vector, Vectors, canonical_text
from undrift.errors import BadArgument
from undrift.flow.oversight import UNSEEN, Oversight


class Failing(Enum):
    """Why a text has no vector; the value is the reason under which a document is put into quarantine."""

    #: Nothing is left of it but white space.
    BLANK = "blank_text"
    #: It has half a surrogate pair in it and cannot be sent anywhere.
    NOT_UNICODE = "not_unicode"
    #: It is longer than the model takes, and the space says to refuse it.
    TOO_LONG = "text_too_long"
    #: The model refuses this text and takes others.
    REJECTED = "rejected"
    #: The model answers this text with a vector that has no direction, and others with good ones.
    MALFORMED = "malformed_vector"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFailure:
    """A text that could not be embedded, and why."""

    reason: Failing
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """What became of n texts.

    Attributes:
        vectors: float32, shape (n, d), row i for text i; the rows of failed texts are NaN, so that none can be used.
        failures: what failed, by the text's place.
        tokens: tokens that were sent, as the model counts or estimates them.
        reused: texts that needed no call: they were in the cache, or stood in this call before.
        cut: texts that the model cut, as its space allows.
        split: texts that were embedded in parts, as their space says.
    """

    vectors: Vectors
    failures: Mapping[int, TextFailure]
    tokens: int
    reused: int
    cut: int = 0
    split: int = 0


@dataclass(slots=True)
class Progress:
    """What one call has so far, by canonical text; the workers of the pool fill it together."""

    vectors: dict[str, Vector] = field(default_factory=dict)
    failures: dict[str, TextFailure] = field(default_factory=dict)
    tokens: int = 0
    cut: int = 0
    split: set[str] = field(default_factory=set)
    oversight: Oversight = UNSEEN
    lock: threading.Lock = field(default_factory=threading.Lock)


def canonical(text: object) -> str:
    """Return the form of a text that is embedded.

    Raises:
        BadArgument: it is no text.
    """
    if not isinstance(text, str):
        raise BadArgument(f"{text!r:.60} is of type {type(text).__name__}, not a text")
    return canonical_text(text)


def unfit(form: str) -> TextFailure | None:
    """Say why a text cannot be sent to any model, if it cannot be."""
    if not form:
        return TextFailure(reason=Failing.BLANK, detail="there is nothing in it but white space")
    if not form.isascii():
        try:
            form.encode()
        except UnicodeEncodeError as error:
            return TextFailure(reason=Failing.NOT_UNICODE, detail=str(error))
    return None
