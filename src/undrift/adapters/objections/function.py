"""A function of the user's that says whether the workers may work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def ask(function: Callable[[], Any], name: str) -> str:
    """Call a function, and return what it has against the work.

    `None`, `True` and an empty text are no objection; a text is one in words, anything else one without. A function
    that raises has not agreed.
    """
    try:
        answer = function()
    except Exception as error:  # noqa: BLE001 - whatever it raises, it has not agreed
        return f"{name}, which raised {type(error).__name__}: {' '.join(str(error).split())}"
    if answer is None or answer is True or answer == "":
        return ""
    return f"{name}, which says {answer if isinstance(answer, str) else repr(answer)}"
