"""Looks at the ends of models that aliases have vectors of, and at what providers say while their models are used."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from undrift.domain.alert import Stage
from undrift.domain.catalogue import ModelKey, channel_of
from undrift.domain.finding import Finding, Severity, State
from undrift.domain.notice import ModelNotice, NoticeKind
from undrift.domain.route import AliasName
from undrift.domain.sunset import end_found, sunset_of

if TYPE_CHECKING:
    from undrift.control.alerting import Alerting

#: Of the limit of an account, work beside live traffic reaches about so much.
UTILISATION = 0.8
#: The check of what providers say.
PROVIDER = "provider"
#: Counts, dates and ids of requests.
_NUMBERS = re.compile(r"\b[0-9a-f]{8,}\b|[0-9a-f]{8}-[0-9a-f-]{27}|\d+")


def look_at_ends(plane: Alerting, moment: datetime | None = None) -> Iterable[Finding]:
    """Yield a finding for every model that an alias has vectors of and whose end is known.

    Args:
        plane: the control plane.
        moment: when; by default the clock's.
    """
    catalogue, now = plane.plugins.catalogue(), moment or plane.clock.now()
    per_minute = plane.config.settings.watch.sunset.tokens_per_minute
    for key, amounts in plane.owned(catalogue).items():
        end = sunset_of(catalogue, key)
        for amount in amounts if end is not None else []:
            hours = (amount["tokens"] or 0) / (per_minute * UTILISATION) / 60
            begin = end.latest_safe_start(hours) if end is not None else now.date()
            if end is not None:
                yield end_found(end, amount["alias"], now, begin=begin, tokens=amount["tokens"])


def look_at_what_was_said(plane: Alerting) -> Iterable[Finding]:
    """Yield what providers said in this process; what they said elsewhere stays so until nobody has such vectors."""
    moment, found = plane.clock.now(), {}
    models = {name: plane.models_of(name) for name in plane.ledger.aliases()}
    for name, mine in models.items():
        for notice in plane.said():
            if (notice.channel, notice.model) in mine:
                finding = _said(name, notice, moment)
                found[finding.key] = finding
    for alert in plane.book.alerts():
        if alert.finding.check == PROVIDER and alert.stage is not Stage.RESOLVED and alert.key not in found:
            alias, _, rest = alert.finding.subject.partition("/")
            mine = models.get(AliasName(alias), set())
            if any(rest.startswith(f"{_name(channel, model)}/") for channel, model in mine):
                # That nobody has said it again does not say that it is over.
                found[alert.key] = replace(alert.finding, state=State.UNKNOWN, moment=moment)
    return found.values()


def _said(alias: str, notice: ModelNotice, moment: datetime) -> Finding:
    severity = {NoticeKind.RETIRED: Severity.CRITICAL, NoticeKind.SUNSET: Severity.ERROR}.get(
        notice.kind, Severity.WARNING
    )
    model = _name(notice.channel, notice.model)
    when = f" ({notice.moment.date().isoformat()})" if notice.moment else ""
    # Two warnings are two alerts: a process that hears one of them says nothing about the other. One that counts or
    # dates itself is the same each time.
    steady = _NUMBERS.sub("0", notice.words).encode()
    which = hashlib.sha256(steady).hexdigest()[:8] if notice.kind is NoticeKind.WARNING else ""
    return Finding(
        check=PROVIDER,
        subject="/".join(filter(None, (alias, model, notice.kind.value, which))),
        state=State.BAD,
        severity=severity,
        moment=moment,
        words=f"{model}, which {alias} uses: its provider says {notice.kind.value}{when}: {notice.words}",
        detail=f"see {notice.link}" if notice.link else "",
        hint="undrift catalogue sunsets --all",
        occasion=notice.moment.date().isoformat() if notice.moment else "",
    )


def _name(channel: str, model: str) -> str:
    return str(ModelKey(channel=channel_of(channel), model=model))
