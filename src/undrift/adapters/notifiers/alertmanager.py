"""Alerts sent to an Alertmanager, through version 2 of its API."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from undrift.adapters.posting import host_of, post
from undrift.domain.telling import Telling

#: How often an alert is sent again in the time after which it would be forgotten.
_TIMES = 4


class AlertmanagerNotifier:
    """A POST to `/api/v2/alerts`; what fires is sent again before the Alertmanager takes it for over.

    It names an alert by its labels, the severity among them. So an alert that changes its severity is told as one that
    is over and another one.
    """

    hears_acknowledged = False

    def __init__(self, url: str, *, lasts_s: float, sleep: Callable[[float], None], timeout_s: float = 10.0) -> None:
        """Remember where to post to.

        Args:
            url: its address, with the prefix of its paths if it has one.
            lasts_s: seconds after which it takes an alert for over that is not sent again.
            sleep: waits between two attempts.
            timeout_s: longest wait for an answer.

        Raises:
            BadConfig: the address is none.
        """
        self._url = f"{url.rstrip('/')}/api/v2/alerts"
        self._lasts_s, self._sleep, self._timeout_s = lasts_s, sleep, timeout_s
        self.again_s = lasts_s / _TIMES
        self.name = f"alertmanager {host_of(url, 'alertmanager')}"

    def send(self, telling: Telling) -> None:
        """Post it, and the end of what it was told before in another severity."""
        alert = telling.alert
        ends = alert.since if telling.is_over else telling.moment + timedelta(seconds=self._lasts_s)
        sent = [self._entry(telling, telling.labels(), ends.isoformat())]
        told = alert.told.get(self.name)
        if told is not None and told.severity is not alert.finding.severity:
            before = {**telling.labels(), "severity": told.severity.value}
            sent.append(self._entry(telling, before, telling.moment.isoformat()))
        body = json.dumps(sent).encode()
        post(self._url, body, dict, name=self.name, sleep=self._sleep, timeout_s=self._timeout_s)

    def _entry(self, telling: Telling, labels: dict[str, str], ends: str) -> dict[str, Any]:
        return {
            "labels": labels,
            "annotations": telling.annotations(),
            "startsAt": telling.alert.began.isoformat(),
            "endsAt": ends,
        }
