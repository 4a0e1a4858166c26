"""What takes alerts to people."""

from __future__ import annotations

from typing import Protocol

from undrift.domain.telling import Telling


class Notifier(Protocol):
    """One way to tell somebody."""

    @property
    def name(self) -> str:
        """What it is called, also in the ledger: nobody is told twice under one name; no secret is in it."""
        ...

    @property
    def again_s(self) -> float | None:
        """Seconds after which it has to be told again as long as an alert fires, or it takes it for over; or None."""
        ...

    @property
    def hears_acknowledged(self) -> bool:
        """Whether it wants to know that somebody has taken an alert on."""
        ...

    def send(self, telling: Telling) -> None:
        """Tell of an alert; it may come twice, with the same id.

        Raises:
            NotifierUnavailable: nobody took it.
        """
        ...
