"""Everybody who is told of alerts, as `[notices]` names them."""

from __future__ import annotations

from collections.abc import Sequence

from undrift.adapters.notifiers.alertmanager import AlertmanagerNotifier
from undrift.adapters.notifiers.apprise import AppriseNotifier
from undrift.adapters.notifiers.log import LogNotifier
from undrift.adapters.notifiers.pagerduty import PagerDutyNotifier
from undrift.adapters.notifiers.webhook import WebhookNotifier
from undrift.config import Config
from undrift.ports.notifier import Notifier
from undrift.ports.runtime import Clock


def receivers_of(config: Config, clock: Clock) -> Sequence[Notifier]:
    """Return every receiver that is configured, and the log behind them.

    Args:
        config: the configuration.
        clock: tells the time, and waits.

    Raises:
        BadConfig: an address or a secret is missing or wrong.
        MissingExtra: what one of them needs is not installed.
    """
    settings, found = config.settings.notices, list[Notifier]()
    sleep, timeout_s = clock.sleep, settings.timeout_s
    if settings.webhook:
        secret = config.notice_secret()
        found.append(WebhookNotifier(settings.webhook, secret, now=clock.now, sleep=sleep, timeout_s=timeout_s))
    if settings.alertmanager:
        lasts_s = settings.alertmanager_lasts_s
        found.append(AlertmanagerNotifier(settings.alertmanager, lasts_s=lasts_s, sleep=sleep, timeout_s=timeout_s))
    key = config.pagerduty_key()
    if key:
        found.append(PagerDutyNotifier(settings.pagerduty, key, sleep=sleep, timeout_s=timeout_s))
    found += [AppriseNotifier(url, number=number) for number, url in enumerate(config.apprise_addresses(), 1)]
    return [*found, LogNotifier()]
