"""Alerts as events of PagerDuty, version 2 of its Events API."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from undrift.adapters.posting import host_of, post
from undrift.domain.alert import Event
from undrift.domain.telling import Telling, fingerprint
from undrift.errors import BadConfig

#: What PagerDuty takes at most, in characters.
_SUMMARY, _KEY = 1024, 255


class PagerDutyNotifier:
    """A POST to `/v2/enqueue`; one `dedup_key` an alert, so that it is triggered, acknowledged and resolved as one."""

    again_s = None
    hears_acknowledged = True
    name = "pagerduty"

    def __init__(self, url: str, routing_key: str, *, sleep: Callable[[float], None], timeout_s: float = 10.0) -> None:
        """Remember where to post to.

        Args:
            url: the address of PagerDuty.
            routing_key: the integration key of the service.
            sleep: waits between two attempts.
            timeout_s: longest wait for an answer.

        Raises:
            BadConfig: there is no key, or the address is none.
        """
        host_of(url, "pagerduty")
        if not routing_key:
            raise BadConfig("PagerDuty in [notices] has no integration key", hint="set pagerduty_key_file in [notices]")
        self._url, self._key = f"{url.rstrip('/')}/v2/enqueue", routing_key
        self._sleep, self._timeout_s = sleep, timeout_s

    def send(self, telling: Telling) -> None:
        """Post it; that it is queued is all that is known then."""
        body = json.dumps(self._event(telling)).encode()
        post(self._url, body, dict, name=self.name, sleep=self._sleep, timeout_s=self._timeout_s)

    def _event(self, telling: Telling) -> dict[str, Any]:
        finding = telling.alert.finding
        action = {Event.RESOLVED: "resolve", Event.ACKNOWLEDGED: "acknowledge"}.get(telling.event, "trigger")
        key = f"undrift/{finding.key}"
        event: dict[str, Any] = {
            "routing_key": self._key,
            "event_action": action,
            "dedup_key": key if len(key) <= _KEY else f"undrift/{fingerprint(finding.key)}",
        }
        if action != "trigger":
            return event
        link = {"href": telling.runbook, "text": "runbook"}
        return {
            **event,
            "client": "undrift",
            # PagerDuty takes links that a browser can follow only.
            "links": [link] if telling.runbook.startswith(("http://", "https://")) else [],
            "payload": {
                "summary": telling.words[:_SUMMARY],
                "source": "undrift",
                "severity": finding.severity.value,
                "timestamp": telling.alert.began.isoformat(),
                "component": finding.subject,
                "class": finding.check,
                "custom_details": {**telling.annotations(), "figures": dict(finding.figures)},
            },
        }
