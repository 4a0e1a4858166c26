"""What a provider says about a model beside its answers: that its end is coming, or that something is not right."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class NoticeKind(Enum):
    """What a provider gives notice of."""

    #: The model is not recommended any more, from the moment that is named (RFC 9745).
    DEPRECATION = "deprecation"
    #: The model stops answering at the moment that is named (RFC 8594).
    SUNSET = "sunset"
    #: A warning in words.
    WARNING = "warning"
    #: The model is gone.
    RETIRED = "retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelNotice:
    """Something that a provider said about a model, while it was used.

    Attributes:
        channel: who said it.
        model: about which model.
        kind: what it is.
        words: what was said, as it was said.
        moment: when it happens, or happened; None when it was not said.
        link: where the provider explains it; empty when it does not say.
    """

    channel: str
    model: str
    kind: NoticeKind
    words: str
    moment: datetime | None = None
    link: str = ""
