"""A Python function that is called with a dictionary."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from undrift.ports.hook import HookOutcome


class FunctionHook:
    """Calls a function; one that raises does not agree, and what it returns as a text is kept."""

    def __init__(self, function: Callable[[dict[str, Any]], Any], *, name: str, timeout_s: float) -> None:
        """Name the function.

        Args:
            function: called with what a program would be told in JSON.
            name: how the configuration calls it.
            timeout_s: it is not waited for any longer; a thread cannot be ended, so it may go on.
        """
        self._function = function
        self._name = name
        self._timeout_s = timeout_s

    @property
    def name(self) -> str:
        """The function's name."""
        return self._name

    def call(self, context: Mapping[str, Any]) -> HookOutcome:
        """Call the function, in a thread of its own."""
        outcomes: list[HookOutcome] = []

        def run() -> None:
            try:
                answer = self._function(dict(context))
            except BaseException as error:  # noqa: BLE001 - whatever it raises, it does not agree
                outcomes.append(HookOutcome(agreed=False, said=str(error) or type(error).__name__))
            else:
                outcomes.append(HookOutcome(agreed=True, said=answer if isinstance(answer, str) else ""))

        thread = threading.Thread(target=run, name=f"undrift-hook-{self._name}", daemon=True)
        thread.start()
        thread.join(self._timeout_s)
        return (
            outcomes[0] if outcomes else HookOutcome(agreed=False, said=f"it did not end within {self._timeout_s:g} s")
        )
