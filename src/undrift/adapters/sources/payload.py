"""Texts that the store keeps beside the vectors."""

from __future__ import annotations

from collections.abc import Sequence

from undrift.domain.record import DocumentId, Entry


class PayloadSource:
    """The text that came with each record; what `text = "payload:text"` means."""

    def texts(self, entries: Sequence[Entry]) -> dict[DocumentId, str]:
        """Return the texts of those records that were read with theirs."""
        return {entry.id: entry.text for entry in entries if entry.text is not None}
