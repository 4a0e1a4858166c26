"""What takes alerts to people."""

from __future__ import annotations

from typing import Protocol

from undrift.domain.alert import Alert


class Notifier(Protocol):
    """One way to tell somebody."""

    @property
    def name(self) -> str:
        """What it is called, for the history; no secret is in it."""
        ...

    def send(self, alert: Alert) -> None:
        """Tell of an alert; it may come twice, with the same id.

        Raises:
            NotifierUnavailable: nobody took it.
        """
        ...
