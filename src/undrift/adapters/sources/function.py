"""Texts from a function of the user's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from undrift.domain.record import DocumentId, Entry
from undrift.errors import BadConfig, StoreUnavailable
from undrift.ports.source import Answer


class FunctionSource:
    """Calls `fetch(ids) -> {id: text | Answer.MISSING | Answer.RETRY}`; an id that is left out is missing."""

    def __init__(self, function: Callable[[list[str]], Mapping[str, Any]], name: str) -> None:
        """Call a function; `name` is what messages call it."""
        self._function = function
        self._name = name

    def texts(self, entries: Sequence[Entry]) -> dict[DocumentId, str]:
        """Return the texts that the function has.

        Raises:
            StoreUnavailable: it raised an error of a connection or of time, or asks to be asked again.
            BadConfig: it returned something else than texts.
        """
        if not entries:
            return {}
        try:
            found = self._function([str(entry.id) for entry in entries])
        except (ConnectionError, TimeoutError) as error:
            raise StoreUnavailable(f"the source of texts {self._name} did not answer", str(error)) from error
        if not isinstance(found, Mapping):
            raise BadConfig(f"the source of texts {self._name} returned {type(found).__name__}, not a mapping of texts")
        later = [id for id, text in found.items() if text is Answer.RETRY]
        if later:
            raise StoreUnavailable(f"the source of texts {self._name} asks to be asked again", f"for {later[0]}")
        wrong = [id for id, text in found.items() if not isinstance(text, str) and text is not Answer.MISSING]
        if wrong:
            raise BadConfig(
                f"the source of texts {self._name} returned no text for {wrong[0]!r}",
                hint="return str, or undrift.ports.source.Answer.MISSING",
            )
        return {entry.id: found[entry.id] for entry in entries if isinstance(found.get(entry.id), str)}
