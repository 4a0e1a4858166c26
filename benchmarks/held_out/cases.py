"""What a change of a model is in this benchmark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

M = TypeVar("M")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case(Generic[M]):
    """A change, and what it should be taken for.

    Attributes:
        name: in the table.
        kinds: the names that are right.
        after: what the model is then, made of the one that comes.
        before: what it was when it was trusted; None for the one that comes.
        judges: whether it is of the half on which nothing was set.
    """

    name: str
    kinds: tuple[str, ...]
    after: Callable[[M], M]
    before: Callable[[M], M] | None = None
    judges: bool = True
