"""Who watches over the calls of a model: lets each one pass or not, and is told what it waits for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Oversight:
    """Who watches over the calls of a model.

    Attributes:
        admit: asked before each call; what it raises ends the work, and nothing more is sent.
        waits: told what a call waits for, before it waits.
        is_work: whether the calls are those of a migration, which leaves a part of an account's pace to searches.
    """

    admit: Callable[[], None] = field(default=lambda: None)
    waits: Callable[[str], None] = field(default=lambda _: None)
    is_work: bool = False

    def before_retry(self, reason: str) -> None:
        """Look once more, before a request is repeated or waited for; the reason may be known no more."""
        if reason:
            self.waits(reason)
        self.admit()


#: Nobody does.
UNSEEN = Oversight()
