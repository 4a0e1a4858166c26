"""Alerts in the log of this process."""

from __future__ import annotations

import logging

from undrift.domain.alert import Alert

_LEVELS = {"warn": logging.WARNING, "page": logging.ERROR, "gone": logging.CRITICAL}
_log = logging.getLogger("undrift.alerts")


class LogNotifier:
    """The logger `undrift.alerts`."""

    name = "log"

    def send(self, alert: Alert) -> None:
        """Log one line, the more urgent the higher its level."""
        _log.log(_LEVELS.get(alert.level, logging.INFO), alert.words)
