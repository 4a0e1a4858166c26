"""Where the text of a document comes from when it has to be embedded again."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Protocol

from undrift.domain.record import DocumentId, Entry


class Answer(Enum):
    """What a function that is asked for texts may answer for an id instead of one."""

    #: There is no such text.
    MISSING = "missing"
    #: It cannot be said now; ask again later.
    RETRY = "retry"


class DocumentSource(Protocol):
    """The texts behind an alias. Whether a document exists is never decided here: that is the serving field's word."""

    def texts(self, entries: Sequence[Entry]) -> dict[DocumentId, str]:
        """Return the texts of existing records.

        An id that is absent from the answer has no text here: it goes to quarantine as `source_missing` and is never
        deleted. An empty call returns an empty answer. Repeated calls may return newer texts.
        """
        ...
