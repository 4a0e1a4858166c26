"""The alerts in the ledger: each change is a compare-and-swap, so that any number of processes may look and tell."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from undrift.domain.alert import Alert, Event, Policy, Stage, Terms, accepted, after, owed, with_told
from undrift.domain.finding import Finding
from undrift.domain.silence import Silence
from undrift.errors import BadArgument, UnknownAlert
from undrift.ports.memory import MemoryLedger

#: Under which keys the ledger has them.
_ALERT, _SILENCE, _TELLING = "watch/alert/", "watch/silence/", "watch/telling/"
#: A process that tells may take so long; then another one tells, in case it died. In seconds.
TELLING_S = 120.0
#: Alerts that are over are remembered so long after the last look at what they were about.
_KEPT = timedelta(days=90)


class AlertBook:
    """What is remembered of alerts and silences."""

    def __init__(self, ledger: MemoryLedger) -> None:
        """Use a ledger."""
        self._ledger = ledger

    def alerts(self) -> list[Alert]:
        """Return every alert that is remembered, in the order of the keys."""
        return [Alert.from_dict(json.loads(memo.text)) for memo in self._ledger.recall_all(_ALERT)]

    def alert(self, key: str) -> Alert:
        """Return an alert.

        Raises:
            UnknownAlert: none of that key is remembered.
        """
        found, _ = self._read(key)
        if found is None:
            raise UnknownAlert(f"there is no alert {key}", hint="undrift alert list --all")
        return found

    def take(self, finding: Finding, policy: Policy) -> Alert | None:
        """Remember what a look found; return the alert as it is now, None where there is none."""
        return self._change(finding.key, lambda alert: after(alert, finding, policy))

    def acknowledge(self, key: str, by: str) -> Alert:
        """Keep that somebody has taken an alert on; it is told no more until it is about something else, or worse.

        Raises:
            UnknownAlert: none of that key is remembered.
            BadArgument: it does not fire.
        """
        stage = self.alert(key).stage
        if stage is not Stage.FIRING:
            raise BadArgument(f"alert {key} is {stage.value}: there is nothing to take on", hint="undrift alert list")
        changed = self._change(key, lambda alert: alert and replace(alert, acknowledged=alert.finding.occasion, by=by))
        return changed or self.alert(key)

    def settle(self, check: str, subject: str, moment: datetime, why: str) -> None:
        """End the alerts of a check about something and its parts by hand: what they are about is the new normal."""
        for one in self.alerts():
            if one.finding.check == check and one.finding.concerns([subject]):
                self._change(one.key, lambda alert: alert and accepted(alert, moment=moment, why=why))

    def forget_old(self, now: datetime) -> None:
        """Forget the alerts that have been over for so long that nobody asks for them any more."""

        def kept(alert: Alert | None) -> Alert | None:
            is_old = alert is not None and alert.stage is Stage.RESOLVED and now - alert.looked > _KEPT
            return None if is_old else alert

        for one in self.alerts():
            if kept(one) is None:
                self._change(one.key, kept)

    def tell(
        self,
        key: str,
        receiver: str,
        now: datetime,
        *,
        terms: Terms,
        send: Callable[[Alert, Event], None],
    ) -> Event | None:
        """Tell a receiver of an alert if it has to be told, and if nobody else is about to.

        Args:
            key: the alert.
            receiver: the receiver's name.
            now: the time.
            terms: how it is told.
            send: called with the alert and the event; when it raises, the receiver stays untold.

        Returns:
            Why it was told; None when it was not.
        """
        claim = f"{_TELLING}{receiver}/{key}"

        def due() -> tuple[Alert, Event] | None:
            alert = self._read(key)[0]
            event = owed(alert, receiver, now, terms) if alert is not None else None
            return (alert, event) if alert is not None and event is not None else None

        mine = self._claim(claim, now) if due() is not None else ""
        if not mine:
            return None
        try:
            # Read again: who had the claim before may have told it.
            found = due()
            if found is None:
                return None
            alert, event = found
            send(alert, event)
            told = with_told(alert, receiver, event, now).told[receiver]
            self._change(key, lambda one: one and replace(one, told={**one.told, receiver: told}))
            return event
        finally:
            self._unclaim(claim, mine)

    def silences(self, now: datetime) -> list[Silence]:
        """Return the silences that have not ended, and forget those that have."""
        found = []
        for memo in self._ledger.recall_all(_SILENCE):
            silence = Silence.from_dict(json.loads(memo.text))
            if silence.until > now:
                found.append(silence)
            else:
                self._ledger.forget(memo.key, version=memo.version)
        return found

    def silence(self, silence: Silence) -> None:
        """Keep a silence; one of the same key is replaced."""
        self._replace(_SILENCE + silence.key, json.dumps(silence.as_dict()))

    def unsilence(self, key: str) -> bool:
        """End a silence; False where there is none of that key."""
        memo = self._ledger.recall(_SILENCE + key)
        return memo is not None and self._ledger.forget(memo.key, version=memo.version)

    def _read(self, key: str) -> tuple[Alert | None, int]:
        """Return an alert and the version of its memo."""
        memo = self._ledger.recall(_ALERT + key)
        return (Alert.from_dict(json.loads(memo.text)), memo.version) if memo is not None else (None, 0)

    def _claim(self, key: str, now: datetime) -> str:
        """Take something for a while and return what stands there then; empty if another process has it."""
        memo = self._ledger.recall(key)
        longest = now + timedelta(seconds=TELLING_S)
        # A claim that ends later than any could is of a clock that was set back.
        if memo is not None and now < datetime.fromisoformat(memo.text) <= longest:
            return ""
        text = longest.isoformat()
        return text if self._ledger.remember(key, text, version=memo.version if memo is not None else 0) else ""

    def _unclaim(self, key: str, mine: str) -> None:
        """Give back what this process took."""
        memo = self._ledger.recall(key)
        if memo is not None and memo.text == mine:
            self._ledger.forget(key, version=memo.version)

    def _replace(self, key: str, text: str) -> None:
        while True:
            memo = self._ledger.recall(key)
            if self._ledger.remember(key, text, version=memo.version if memo is not None else 0):
                return

    def _change(self, key: str, change: Callable[[Alert | None], Alert | None]) -> Alert | None:
        """Change an alert, as often as somebody else is faster; None forgets it."""
        while True:
            before, version = self._read(key)
            now = change(before)
            if now == before:
                return now
            if now is None:
                done = self._ledger.forget(_ALERT + key, version=version)
            else:
                done = self._ledger.remember(_ALERT + key, json.dumps(now.as_dict()), version=version)
            if done:
                return now
