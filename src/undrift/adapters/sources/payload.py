"""Texts that the store keeps beside the vectors."""

from __future__ import annotations

from collections.abc import Sequence

from undrift.domain.record import DocumentId, Entry


class PayloadSource:
    """The text that came with each record; what `text = "payload:text"` means."""

    def __init__(self, key: str = "") -> None:
        """Take the record's own text, or a key of its metadata.

        Args:
            key: the key; empty for the text itself.
        """
        self._key = key

    def texts(self, entries: Sequence[Entry]) -> dict[DocumentId, str]:
        """Return the texts of those records that were read with theirs."""
        if not self._key:
            return {entry.id: entry.text for entry in entries if entry.text is not None}
        values = {entry.id: entry.metadata.get(self._key) for entry in entries}
        return {id: value for id, value in values.items() if isinstance(value, str)}
