"""Alerts: what is remembered of them, who is told, and what people say to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import Any

from undrift.adapters.notifiers.log import LogNotifier
from undrift.control.checks import CHECKS
from undrift.control.ends import look_at_what_was_said
from undrift.control.receivers import receivers_of
from undrift.control.refreshing import Refreshing
from undrift.domain.alert import Alert, Event, Policy, Stage, Terms, after, owed
from undrift.domain.finding import Finding
from undrift.domain.route import AliasName
from undrift.domain.silence import Silence, muted
from undrift.domain.telling import Telling
from undrift.errors import BadArgument, NotifierUnavailable, UndriftError, UnknownAlert
from undrift.ports.notifier import Notifier
from undrift.watch.book import AlertBook
from undrift.watch.schedule import Schedule

#: A silence lasts so long at most, in seconds: who wants more wants no such check.
_LONGEST_S = 366 * 86_400.0


class Alerting(Refreshing):
    """The verb `alert`, and what providers say while their models are used."""

    @cached_property
    def book(self) -> AlertBook:
        """What the ledger remembers of alerts."""
        return AlertBook(self.ledger)

    @cached_property
    def schedule(self) -> Schedule:
        """What the ledger remembers of looks."""
        return Schedule(self.ledger, self.router.client, self.processes)

    @cached_property
    def receivers(self) -> Sequence[Notifier]:
        """Everybody who is told, the log last: it takes everything."""
        return receivers_of(self.config, self.clock)

    def alerts(self, *, everything: bool = False) -> list[dict[str, Any]]:
        """Return the alerts, the most severe first.

        Args:
            everything: also those that are over.
        """
        shown = [self._shown(alert) for alert in self.book.alerts() if everything or alert.stage is not Stage.RESOLVED]
        return sorted(shown, key=lambda one: (one["stage"] == "resolved", -one["rank"], one["key"]))

    def alert(self, key: str) -> dict[str, Any]:
        """Return everything about an alert.

        Raises:
            UnknownAlert: none of that key is remembered.
        """
        found = self.book.alert(key)
        return {**self._shown(found), "figures": dict(found.finding.figures), "told": found.as_dict()["told"]}

    def silence_alerts(self, key: str, *, seconds: float, reason: str) -> dict[str, Any]:
        """Tell nobody of some alerts for a while; they go on, and what is still owed afterwards is told then.

        Args:
            key: the key of an alert, or a pattern with `*` and `?`; there need not be such an alert yet.
            seconds: for how long.
            reason: why, for those who look at the list.

        Raises:
            BadArgument: there is no key, or it is for longer than a year.
        """
        if not key.strip():
            raise BadArgument("a silence needs the key of an alert, or a pattern", hint="undrift alert list")
        if seconds > _LONGEST_S:
            raise BadArgument("a silence ends within a year", hint="disable the check: enabled = false in [watch.NAME]")
        until = self.clock.now() + timedelta(seconds=seconds)
        silence = Silence(key=key, until=until, reason=reason, who=self.router.client)
        self.book.silence(silence)
        return silence.as_dict()

    def unsilence_alerts(self, key: str) -> dict[str, Any]:
        """End a silence.

        Raises:
            UnknownAlert: there is no silence of that key.
        """
        if not self.book.unsilence(key):
            raise UnknownAlert(f"there is no silence of {key}", hint="undrift alert list")
        return {"key": key}

    def silences(self) -> list[dict[str, Any]]:
        """Return the silences that have not ended."""
        return [silence.as_dict() for silence in self.book.silences(self.clock.now())]

    def acknowledge_alert(self, key: str, *, who: str) -> dict[str, Any]:
        """Say that somebody takes an alert on: it is told no more until it is about something else, or worse.

        Raises:
            UnknownAlert: none of that key is remembered.
            BadArgument: it does not fire.
        """
        return self._shown(self.book.acknowledge(key, who))

    def tell(self, keys: Iterable[str] | None = None, *, not_now: Iterable[str] = ()) -> dict[str, Any]:
        """Tell every receiver what it has to be told and was not.

        Args:
            keys: only of these alerts; of all by default.
            not_now: receivers that are left for later.

        Returns:
            What was told to whom, and which receivers did not take it.
        """
        told: dict[str, Telling] = {}
        failed: dict[str, str] = dict.fromkeys(not_now, "")
        reached: set[str] = set()
        only = set(keys) if keys is not None else None
        windows = [window.as_window() for window in self.config.settings.watch.maintenance]
        silences = self.book.silences(self.clock.now())
        for alert in sorted(self.book.alerts(), key=lambda one: -one.finding.severity.rank):
            if only is not None and alert.key not in only:
                continue
            quiet = bool(muted(alert.key, self.clock.now(), silences, windows))
            for receiver in self.receivers:
                if receiver.name in failed:
                    continue
                try:
                    telling = self._tell(alert, receiver, quiet=quiet)
                except NotifierUnavailable as error:
                    failed[receiver.name] = ": ".join(filter(None, (error.message, error.detail)))
                    LogNotifier().complain(failed[receiver.name])
                else:
                    if telling is not None:
                        told[telling.id] = telling
                        reached.add(receiver.name)
        problems = {name: why for name, why in failed.items() if why}
        tellings = [one.as_dict() for one in told.values()]
        return {"tellings": tellings, "told": sorted(reached - set(problems)), "problems": problems}

    def would_tell(self, findings: Iterable[Finding]) -> list[dict[str, Any]]:
        """Return what these findings would make the log tell; nothing is remembered."""
        known = {alert.key: alert for alert in self.book.alerts()}
        told, now = [], self.clock.now()
        for finding in findings:
            policy = self.policy_of(finding.check)
            alert = after(known.get(finding.key), finding, policy)
            event = owed(alert, LogNotifier.name, now, Terms(renotify_s=policy.renotify_s)) if alert else None
            if alert is not None and event is not None:
                told.append(Telling(alert=alert, event=event, moment=now, runbook=self.runbook(finding.check)))
        return [one.as_dict() for one in told]

    def policy_of(self, check: str, own: Policy | None = None) -> Policy:
        """Return the policy of a check as it is configured.

        Args:
            check: its name.
            own: what it brings itself; by default that of the check of this name.
        """
        known = next((one.policy for one in CHECKS if one.name == check), Policy())
        settings = getattr(self.config.settings.watch, check, None)
        if settings is None or settings.renotify_s is None:
            return own or known
        return replace(own or known, renotify_s=settings.renotify_s or None)

    def take(self, findings: Iterable[Finding], policy: Policy | None = None) -> list[Alert]:
        """Remember what was found; return the alerts that there are of it.

        Args:
            findings: what a look found.
            policy: when it becomes an alert; by default the policy of each one's check.
        """
        taken = (self.book.take(finding, self.policy_of(finding.check, policy)) for finding in findings)
        return [alert for alert in taken if alert is not None]

    _heard = 0

    def heard(self) -> None:
        """Tell of what is new; a ledger that cannot be asked is no reason to fail what goes on."""
        said = len(self.said())
        if said == self._heard or not self.config.settings.watch.provider.enabled:
            return
        self._heard = said
        with suppress(UndriftError):
            self.tell([alert.key for alert in self.take(look_at_what_was_said(self))])

    def models_of(self, name: AliasName) -> set[tuple[str, str]]:
        """Return channel and model of every space that an alias has vectors of, or is about to have."""
        state = self.ledger.alias(name)
        if state is None:
            return set()
        fields = [state.route.serving, state.route.follower]
        if state.migration is not None and not state.migration.is_final:
            fields.append(state.migration.target)
        spaces = [self.ledger.space(field.space) for field in fields if field is not None]
        return {(known.space.channel, known.space.model) for known in spaces if known is not None}

    def runbook(self, check: str) -> str:
        """Return where it is written what to do about the alerts of a check."""
        return f"{self.config.settings.notices.runbooks}#{check}"

    def _tell(self, alert: Alert, receiver: Notifier, *, quiet: bool) -> Telling | None:
        told: list[Telling] = []

        def send(now: Alert, event: Event) -> None:
            telling = Telling(alert=now, event=event, moment=self.clock.now(), runbook=self.runbook(now.finding.check))
            receiver.send(telling)
            told.append(telling)

        again = receiver.again_s
        self.book.tell(
            alert.key,
            receiver.name,
            self.clock.now(),
            terms=Terms(
                renotify_s=self.policy_of(alert.finding.check).renotify_s if again is None else again,
                keeps_alive=again is not None,
                hears_acknowledged=receiver.hears_acknowledged,
                muted=quiet,
            ),
            send=send,
        )
        return told[0] if told else None

    def _shown(self, alert: Alert) -> dict[str, Any]:
        now, finding = self.clock.now(), alert.finding
        windows = [window.as_window() for window in self.config.settings.watch.maintenance]
        return {
            "key": alert.key,
            "check": finding.check,
            "subject": finding.subject,
            "stage": alert.stage.value,
            "severity": finding.severity.value,
            "rank": finding.severity.rank,
            "began": alert.began.isoformat(),
            "since": alert.since.isoformat(),
            "looked": alert.looked.isoformat(),
            "words": alert.over or finding.words,
            "detail": finding.detail,
            "hint": finding.hint,
            "runbook": self.runbook(finding.check),
            "muted": muted(alert.key, now, self.book.silences(now), windows),
            "acknowledged_by": alert.by if alert.is_acknowledged else "",
        }
