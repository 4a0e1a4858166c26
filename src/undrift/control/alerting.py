"""Telling of the ends of models: to the log and to a signed webhook, each thing once, and that it is over."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from typing import Any

from undrift.adapters.notifiers.log import LogNotifier
from undrift.adapters.notifiers.webhook import WebhookNotifier
from undrift.control.refreshing import Refreshing
from undrift.domain.alert import Alert, Event, due, resolved
from undrift.domain.catalogue import ModelKey, channel_of
from undrift.domain.notice import ModelNotice, NoticeKind
from undrift.domain.route import AliasName
from undrift.domain.sunset import sunset_of
from undrift.errors import NotifierUnavailable, UndriftError
from undrift.ports.notifier import Notifier

#: Under which word an alert stands in an alias's history, which is where is looked for what was told.
ACTION = "alert"
#: Entries of the history that are looked through.
_LOOKED_THROUGH = 100_000


class Alerting(Refreshing):
    """The verb `catalogue notify`, and what providers say while their models are used."""

    def notify(
        self, *, tokens_per_minute: float = 1e6, today: date | None = None, dry_run: bool = False
    ) -> dict[str, Any]:
        """Tell of every end that has to be told of, and was not.

        At 180, 90, 60, 30, 14, 7 and 1 days before, when the day has come, and whenever it has moved. What was told is
        kept in the ledger, so that any number of hosts may do this as often as they like. An alert that nobody took is
        told again the next time.

        Args:
            tokens_per_minute: the limit that a re-embedding may use, for the last safe day to begin.
            today: the day to reckon from; by default the clock's.
            dry_run: only say what would be told.

        Raises:
            NotifierUnavailable: an alert was not taken; those before it were.
        """
        day = today or self.clock.now().date()
        notifiers = [] if dry_run else self._notifiers()
        catalogue, sent = self.plugins.catalogue(), []
        owned = self._owned(catalogue)
        for name in self.ledger.aliases():
            told = self._told(name)
            concerned = set()
            for key, amounts in owned.items():
                tokens = next((one["tokens"] for one in amounts if one["alias"] == name), -1)
                end = sunset_of(catalogue, key)
                if tokens == -1:
                    continue
                concerned |= {str(key)} if end is not None or _was_said(told, key) else set()
                if end is None:
                    continue
                hours = (tokens or 0) / (tokens_per_minute * 0.8) / 60
                mine = [alert for alert in told if alert.model == str(key)]
                alert = due(end, name, mine, day, begin=end.latest_safe_start(hours))
                sent += [alert] if alert is not None else []
            sent += resolved(told, concerned)
        for alert in sent:
            self._send(alert, notifiers)
        return {
            "alerts": [{"id": alert.id, **alert.as_dict()} for alert in sent],
            "told": [notifier.name for notifier in notifiers],
            "next_steps": ["undrift catalogue sunsets"],
        }

    _heard = 0

    def heard(self) -> None:
        """Tell of what is new; a ledger that cannot be asked is no reason to fail what goes on."""
        with suppress(UndriftError):
            self.tell_what_providers_said()

    def tell_what_providers_said(self) -> list[Alert]:
        """Tell of what providers have said in this process beside their answers: warnings, ends, a model that is gone.

        Each thing is told once for each alias with vectors of the model, whichever process hears it. That nobody takes
        an alert stops no work: it stays untold, and is told by the next process that hears it.
        """
        said = self.said()
        if len(said) == self._heard:
            return []
        self._heard, sent = len(said), []
        for name in self.ledger.aliases():
            mine = self._models_of(name)
            told = {(alert.model, alert.words) for alert in self._told(name)}
            for notice in said:
                alert = _said(name, notice)
                if (notice.channel, notice.model) in mine and (alert.model, alert.words) not in told:
                    try:
                        self._send(alert, self._notifiers())
                        sent.append(alert)
                    except NotifierUnavailable as error:
                        LogNotifier().send(alert)
                        LogNotifier().send(_failed(alert, error))
        return sent

    def _notifiers(self) -> Sequence[Notifier]:
        settings = self.config.settings.notices
        found: list[Notifier] = [LogNotifier()]
        if settings.webhook:
            secret = self.config.notice_secret()
            sleep, now = self.clock.sleep, self.clock.now
            found.append(WebhookNotifier(settings.webhook, secret, now=now, sleep=sleep, timeout_s=settings.timeout_s))
        return found

    def _send(self, alert: Alert, notifiers: Sequence[Notifier]) -> None:
        # The log last: it takes everything, and an alert that is not taken elsewhere is told again.
        for notifier in reversed(notifiers):
            notifier.send(alert)
        if notifiers:
            self.ledger.enter(
                AliasName(alert.alias), who=self.router.client, action=ACTION, detail=json.dumps(alert.as_dict())
            )

    def _told(self, name: AliasName) -> list[Alert]:
        """Return what was told of an alias, the first first."""
        entries = reversed(self.ledger.history(name, limit=_LOOKED_THROUGH))
        return [Alert.from_dict(json.loads(one.detail)) for one in entries if one.action == ACTION]

    def _models_of(self, name: AliasName) -> set[tuple[str, str]]:
        """Return channel and model of every space that an alias has vectors of, or is about to have."""
        state = self.ledger.alias(name)
        if state is None:
            return set()
        fields = [state.route.serving, state.route.follower]
        if state.migration is not None and not state.migration.is_final:
            fields.append(state.migration.target)
        spaces = [self.ledger.space(field.space) for field in fields if field is not None]
        return {(known.space.channel, known.space.model) for known in spaces if known is not None}


def _said(alias: str, notice: ModelNotice) -> Alert:
    level = {NoticeKind.RETIRED: "gone", NoticeKind.SUNSET: "page"}.get(notice.kind, "warn")
    model = str(ModelKey(channel=channel_of(notice.channel), model=notice.model))
    when = f" ({notice.moment.date().isoformat()})" if notice.moment else ""
    link = f"; see {notice.link}" if notice.link else ""
    return Alert(
        alias=alias,
        model=model,
        event=Event.SAID,
        level=level,
        day=notice.moment.date().isoformat() if notice.moment else "",
        words=f"{model}, which {alias} uses: its provider says {notice.kind.value}{when}: {notice.words}{link}",
    )


def _was_said(told: Sequence[Alert], key: ModelKey) -> bool:
    return any(alert.model == str(key) and alert.event is Event.SAID for alert in told)


def _failed(alert: Alert, error: NotifierUnavailable) -> Alert:
    return Alert(alias=alert.alias, model=alert.model, event=alert.event, level="warn", words=str(error))
