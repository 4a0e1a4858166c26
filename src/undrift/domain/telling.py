"""What a receiver is told of an alert, in the words and labels that tools for alerts share."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from undrift.domain.alert import Alert, Event

#: What Alertmanager's payload says for an alert that is not over.
NO_END = "0001-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """One thing that a receiver is told.

    Attributes:
        alert: of what.
        event: why.
        moment: when.
        runbook: where it is written what to do.
    """

    alert: Alert
    event: Event
    moment: datetime
    runbook: str = ""

    @property
    def id(self) -> str:
        """The same for the same telling, so that a receiver can tell that it comes a second time."""
        finding = self.alert.finding
        again = self.moment.isoformat() if self.event is Event.STILL else ""
        parts = (finding.key, finding.occasion, finding.severity.value, self.event.value, again)
        return _digest(*parts, self.alert.since.isoformat())

    @property
    def words(self) -> str:
        """All of it in one sentence."""
        match self.event:
            case Event.RESOLVED:
                return f"over: {self.alert.over or self.alert.finding.words}"
            case Event.STILL:
                return f"still: {self.alert.finding.words}"
            case Event.ACKNOWLEDGED:
                return f"taken on by {self.alert.by}: {self.alert.finding.words}"
            case _:
                return self.alert.finding.words

    @property
    def is_over(self) -> bool:
        """Whether it says that the alert is over."""
        return self.event is Event.RESOLVED

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        finding = self.alert.finding
        return {
            "id": self.id,
            "event": self.event.value,
            "key": finding.key,
            "check": finding.check,
            "subject": finding.subject,
            "severity": finding.severity.value,
            "occasion": finding.occasion,
            "words": self.words,
            "hint": finding.hint,
            "runbook": self.runbook,
        }

    def labels(self) -> dict[str, str]:
        """Return what names the alert, as Prometheus and Alertmanager name alerts."""
        finding = self.alert.finding
        return {
            "alertname": f"Undrift{finding.check.title().replace('_', '')}",
            "check": finding.check,
            "subject": finding.subject,
            "severity": finding.severity.value,
        }

    def annotations(self) -> dict[str, str]:
        """Return what is said of it; nothing that is empty."""
        finding = self.alert.finding
        said = {
            "summary": self.words,
            "description": finding.detail,
            "command": finding.hint,
            "runbook_url": self.runbook,
        }
        return {name: text for name, text in said.items() if text}

    def as_webhook(self) -> dict[str, Any]:
        """Return it in the shape of the payload, version 4, that Alertmanager posts to webhooks.

        The fingerprint stays the same as long as it is about the same thing, whatever its severity.
        """
        labels, annotations = self.labels(), self.annotations()
        status = "resolved" if self.is_over else "firing"
        steady = {name: labels[name] for name in ("alertname", "check", "subject")}
        written = ", ".join(f"{name}={json.dumps(value)}" for name, value in steady.items())
        return {
            "version": "4",
            "groupKey": f"{{}}:{{{written}}}",
            "truncatedAlerts": 0,
            "status": status,
            "receiver": "undrift",
            "groupLabels": steady,
            "commonLabels": labels,
            "commonAnnotations": annotations,
            "externalURL": "",
            "alerts": [
                {
                    "status": status,
                    "labels": labels,
                    "annotations": annotations,
                    "startsAt": self.alert.began.isoformat(),
                    "endsAt": self.alert.since.isoformat() if self.is_over else NO_END,
                    "generatorURL": "",
                    "fingerprint": fingerprint(self.alert.key),
                }
            ],
            "undrift": self.as_dict(),
        }


def fingerprint(key: str) -> str:
    """Return a short name of what an alert is about."""
    return _digest(key)


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
