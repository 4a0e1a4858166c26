"""What texts become before they are embedded, and why some have no vector."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from undrift.domain.record import canonical_text
from undrift.errors import BadArgument


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
