"""Where the text of a document comes from when it has to be embedded again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from undrift.domain.record import DocumentId, Entry


class DocumentSource(Protocol):
    """The texts behind an alias. Whether a document exists is never decided here: that is the serving field's word."""

    def texts(self, entries: Sequence[Entry]) -> dict[DocumentId, str]:
        """Return the texts of existing records.

        An id that is absent from the answer has no text here: it goes to quarantine as `source_missing` and is never
        deleted. An empty call returns an empty answer. Repeated calls may return newer texts.
        """
        ...
