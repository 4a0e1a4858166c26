"""Alerts through Apprise: Slack, Teams, e-mail, and what else it knows; extra `notify`."""

from __future__ import annotations

from typing import Any

from undrift.domain.finding import Severity
from undrift.domain.telling import Telling, fingerprint
from undrift.errors import BadConfig, MissingExtra, NotifierUnavailable

#: Services that keep one incident an alert when they are told its name; Apprise would take the title for it.
_DEDUPLICATING = ("pagerduty://",)


class AppriseNotifier:
    """One address of Apprise; each address is a receiver of its own, so that none is told twice for another's sake."""

    again_s = None
    hears_acknowledged = False

    def __init__(self, url: str, *, number: int) -> None:
        """Read an address.

        Args:
            url: the address, which has secrets in it.
            number: which one of its file it is, from 1.

        Raises:
            BadConfig: Apprise does not know such addresses.
            MissingExtra: Apprise is not installed.
        """
        try:
            import apprise
        except ImportError as error:
            raise MissingExtra(
                "Apprise is not installed", f"{error.name} is missing", "pip install 'undrift[notify]'"
            ) from error
        self._apprise: Any = apprise
        self._url = url
        scheme = url.partition("://")[0]
        # Not its number: of a file from which a line was taken, another address would have been told already. Sixteen
        # bits tell addresses apart and nothing of their secrets.
        self.name = f"apprise {scheme} {fingerprint(url)[:4]}"
        if self._service("") is None:
            raise BadConfig(
                f"address {number} of the apprise_file of [notices] is none that Apprise knows",
                hint="see https://github.com/caronc/apprise/wiki",
            )

    def send(self, telling: Telling) -> None:
        """Tell it, as good news when it is over."""
        finding = telling.alert.finding
        kinds = {Severity.INFO: "info", Severity.WARNING: "warning"}
        lines = [telling.words, finding.detail, finding.hint and f"Next: {finding.hint}", telling.runbook]
        title = f"undrift: {finding.key}" + (" is over" if telling.is_over else "")
        try:
            taken = self._service(finding.key).notify(
                title=title,
                body="\n".join(filter(None, lines)),
                notify_type="success" if telling.is_over else kinds.get(finding.severity, "failure"),
            )
        except Exception as error:
            raise NotifierUnavailable(f"the {self.name} did not take an alert", type(error).__name__) from error
        if not taken:
            raise NotifierUnavailable(f"the {self.name} did not take an alert", hint="undrift alert list")

    def _service(self, key: str) -> Any:
        url = self._url
        if key and url.startswith(_DEDUPLICATING):
            url += f"{'&' if '?' in url else '?'}dedup=undrift-{fingerprint(key)}&action=map"
        return self._apprise.Apprise.instantiate(url, suppress_exceptions=True)
