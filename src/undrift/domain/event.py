"""What happened, as it is remembered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """Who did what, when and why: one line of the history, which only grows."""

    at: datetime
    who: str
    action: str
    epoch: int
    detail: str
