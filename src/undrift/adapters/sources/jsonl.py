"""Texts in a file of JSON Lines, found by their ids."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from undrift.domain.record import DocumentId, Entry
from undrift.errors import BadConfig, BadInputLine


class JsonlSource:
    """The `text` of the line with the id; the file is read again when it has changed. Safe from several threads."""

    def __init__(self, path: Path) -> None:
        """Remember the file; it is read at the first question."""
        self._path = path
        self._lock = Lock()
        self._state: tuple[int, int, int] | None = None
        self._texts: dict[str, str] = {}

    def texts(self, entries: Sequence[Entry]) -> dict[DocumentId, str]:
        """Return the texts of those records that the file has.

        Raises:
            BadConfig: the file cannot be read.
            BadInputLine: a line of it is not what it should be.
        """
        with self._lock:
            self._read_if_changed()
            known = self._texts
        return {entry.id: known[entry.id] for entry in entries if entry.id in known}

    def _read_if_changed(self) -> None:
        try:
            found = self._path.stat()
            state = (found.st_ino, found.st_size, found.st_mtime_ns)
            if state != self._state:
                self._texts = _read(self._path)
                self._state = state
        except (OSError, UnicodeDecodeError) as error:
            raise BadConfig(f"the file of texts {self._path} cannot be read", str(error)) from error


def _read(path: Path) -> dict[str, str]:
    texts = {}
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                id, text, title = row["id"], row["text"], row.get("title")
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise BadInputLine(
                    f"line {number} of {path} is not a document", str(error), 'write {"id": "…", "text": "…"}'
                ) from error
            if not isinstance(id, str) or not isinstance(text, str):
                raise BadInputLine(f"line {number} of {path} has an id or a text that is no string")
            texts[id] = f"{title} {text}" if isinstance(title, str) and title else text
    return texts
