"""Whether the model that answers is the one that was asked, as far as its name tells."""

from __future__ import annotations

import threading

from undrift.adapters.embedders.http.dialect import dated_name
from undrift.errors import ModelChanged


class Identity:
    """The names that a model answers with, and the revision behind them that was seen; safe from any thread."""

    def __init__(self, *, model: str, host: str, names: set[str]) -> None:
        """Know the names; none but these, with a date behind them perhaps, is the model."""
        self._model, self._host, self._names = model, host, sorted(names)
        self._lock = threading.Lock()
        self._revision = ""

    def confirm(self, answered: str) -> None:
        """Pass when an answer names the model, or names none.

        Raises:
            ModelChanged: it names another one, or another revision than before.
        """
        if not answered:
            return
        suffixes = [dated_name(name, answered) for name in self._names]
        suffix = next((found for found in suffixes if found is not None), None)
        if suffix is None:
            raise ModelChanged(
                f"{self._host} answered for model {self._model} with model {answered}",
                "its vectors belong to another space, so they are not used",
                f'if both are the same model, set answers_as = "{answered}" for it',
            )
        with self._lock:
            before = self._revision
            self._revision = suffix or before
        if before and suffix and suffix != before:
            raise ModelChanged(
                f"{self._host} changed the revision of model {self._model} while it was used",
                f"it answered as …{before} before, and as …{suffix} now",
            )
