"""Alerts in the log of this process."""

from __future__ import annotations

import logging

from undrift.domain.finding import Severity
from undrift.domain.telling import Telling

_LEVELS = {Severity.WARNING: logging.WARNING, Severity.ERROR: logging.ERROR, Severity.CRITICAL: logging.CRITICAL}
_log = logging.getLogger("undrift.alerts")


class LogNotifier:
    """The logger `undrift.alerts`."""

    name = "log"
    again_s = None
    hears_acknowledged = True

    def send(self, telling: Telling) -> None:
        """Log one line, the more urgent the more severe it is."""
        level = logging.INFO if telling.is_over else _LEVELS.get(telling.alert.finding.severity, logging.INFO)
        _log.log(level, "%s: %s", telling.alert.key, telling.words)

    def complain(self, words: str) -> None:
        """Log that another receiver did not take an alert."""
        _log.warning("%s", words)
