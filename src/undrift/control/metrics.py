"""The figures of the look-out and of its aliases, in the text format of Prometheus.

Few series: labels are names of checks, aliases, models and receivers, never of documents, texts or processes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from undrift import telemetry
from undrift.control.checks import CHECKS
from undrift.domain.alert import Alert, Stage, Terms, owed
from undrift.domain.silence import muted
from undrift.release import VERSION

if TYPE_CHECKING:
    from undrift.control.lookout import LookOut
    from undrift.control.plane import ControlPlane

#: The type of what `exposition` returns.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric, as it is documented.

    Attributes:
        name: its name.
        about: what it is, in a sentence.
        labels: the names of its labels.
        is_counter: whether it only grows.
    """

    name: str
    about: str
    labels: tuple[str, ...] = ()
    is_counter: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One value of a metric."""

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


_OF_THE_LOOKOUT = (
    Metric(name="undrift_build_info", about="1, with the version of undrift.", labels=("version",)),
    Metric(
        name="undrift_alert_firing",
        about="1 for each alert that fires; it is muted while it is silenced, in a maintenance window or taken on.",
        labels=("check", "subject", "severity", "muted"),
    ),
    Metric(
        name="undrift_findings",
        about="Things that a check looked at last, by what is known of them: good, bad or unknown.",
        labels=("check", "state"),
    ),
    Metric(
        name="undrift_look_last_success_timestamp_seconds",
        about="When a check last knew something.",
        labels=("check",),
    ),
    Metric(name="undrift_look_interval_seconds", about="How often a check is to look.", labels=("check",)),
    Metric(name="undrift_look_duration_seconds", about="How long the last look of a check took.", labels=("check",)),
    Metric(
        name="undrift_looks_total",
        about="Looks of a check that knew something, and that knew nothing: known or unknown.",
        labels=("check", "result"),
        is_counter=True,
    ),
    Metric(
        name="undrift_watch_last_round_timestamp_seconds", about="When the look-out of this process last was all round."
    ),
    Metric(name="undrift_tellings_owed", about="Alerts of which a receiver was not told yet.", labels=("receiver",)),
)
_OF_ALIASES = (
    Metric(
        name="undrift_space_info",
        about="1 for each space that an alias has vectors of; its role is serving or follower.",
        labels=("alias", "role", "channel", "model", "space"),
    ),
    Metric(
        name="undrift_migration_phase_info",
        about="1 for each alias with a migration, with its phase and whether its workers work.",
        labels=("alias", "phase", "run_status"),
    ),
    Metric(
        name="undrift_migration_progress_ratio",
        about="Share of the pieces of a back-fill that are published.",
        labels=("alias",),
    ),
    Metric(name="undrift_documents_dirty", about="Documents that are still to be carried over.", labels=("alias",)),
    Metric(name="undrift_documents_quarantined", about="Documents that are set aside.", labels=("alias",)),
)
_ABOUT_PROCESS = {
    telemetry.Metric.MIS_TAGGED_HITS: "Hits of another space than the query's in this process; must stay 0.",
    telemetry.Metric.TEXTS_EMBEDDED: "Texts that this process sent to embedding models.",
    telemetry.Metric.TEXTS_REUSED: "Texts whose vector this process had already.",
    telemetry.Metric.TEXTS_CUT: "Texts of this process that a provider cut.",
    telemetry.Metric.TEXTS_SPLIT: "Long texts that this process sent in parts, whose vector is the mean of theirs.",
    telemetry.Metric.WRITES_WAITED: "Writes of this process that waited for a document to be carried over.",
    telemetry.Metric.OUTCOMES_UNKNOWN: "Writes of this process whose outcome could not be known.",
}


def documented() -> tuple[Metric, ...]:
    """Return every metric there is."""
    of_checks = (
        Metric(name=gauge.metric, about=gauge.about, labels=("subject",)) for check in CHECKS for gauge in check.gauges
    )
    of_process = (
        Metric(name=metric.value, about=_ABOUT_PROCESS[metric], is_counter=True) for metric in telemetry.Metric
    )
    return (*_OF_THE_LOOKOUT, *of_checks, *_OF_ALIASES, *of_process)


def exposition(plane: ControlPlane, lookout: LookOut) -> str:
    """Return every figure as text.

    Args:
        plane: whose aliases, alerts and receivers are shown.
        lookout: whose checks are.
    """
    return text_of(documented(), [*_samples_of_lookout(plane, lookout), *_samples_of_aliases(plane), *_samples_here()])


def text_of(metrics: Iterable[Metric], samples: Iterable[Sample]) -> str:
    """Return samples in the text format of Prometheus; a metric without any is left out."""
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.name, []).append(sample)
    lines = []
    for metric in metrics:
        if metric.name in found:
            lines.append(f"# HELP {metric.name} {_escaped(metric.about)}")
            lines.append(f"# TYPE {metric.name} {'counter' if metric.is_counter else 'gauge'}")
            lines += map(_line, found.pop(metric.name))
    assert not found, f"metrics that nobody has documented: {sorted(found)}"
    return "\n".join(lines) + "\n"


def _line(sample: Sample) -> str:
    labels = ",".join(f'{name}="{_quoted(value)}"' for name, value in sample.labels.items())
    return f"{sample.name}{{{labels}}} {_number(sample.value)}" if labels else f"{sample.name} {_number(sample.value)}"


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")


def _samples_of_lookout(plane: ControlPlane, lookout: LookOut) -> Iterator[Sample]:
    now = plane.clock.now()
    yield Sample(name="undrift_build_info", value=1, labels={"version": VERSION})
    if lookout.ended is not None:
        yield Sample(name="undrift_watch_last_round_timestamp_seconds", value=lookout.ended.timestamp())
    yield from _samples_of_alerts(plane, now)
    for check in lookout.checks:
        of, looks = {"check": check.name}, plane.schedule.looks(check.name, now)
        if looks.known is not None:
            known = looks.known.timestamp()
            yield Sample(name="undrift_look_last_success_timestamp_seconds", value=known, labels=of)
        yield Sample(name="undrift_look_interval_seconds", value=lookout.every_s(check), labels=of)
        yield Sample(name="undrift_look_duration_seconds", value=looks.took_s, labels=of)
        for result, count in (("known", looks.good), ("unknown", looks.failed)):
            yield Sample(name="undrift_looks_total", value=count, labels={**of, "result": result})
    yield from _samples_of_findings(lookout)


def _samples_of_alerts(plane: ControlPlane, now: datetime) -> Iterator[Sample]:
    alerts, silences = plane.book.alerts(), plane.book.silences(now)
    windows = [window.as_window() for window in plane.config.settings.watch.maintenance]

    def quiet(alert: Alert) -> bool:
        return bool(muted(alert.key, now, silences, windows))

    for alert in alerts:
        if alert.stage is Stage.FIRING:
            labels = {
                "check": alert.finding.check,
                "subject": alert.finding.subject,
                "severity": alert.finding.severity.value,
                "muted": str(quiet(alert) or alert.is_acknowledged).lower(),
            }
            yield Sample(name="undrift_alert_firing", value=1, labels=labels)
    for receiver in plane.receivers:
        count = sum(owed(alert, receiver.name, now, Terms(muted=quiet(alert))) is not None for alert in alerts)
        yield Sample(name="undrift_tellings_owed", value=count, labels={"receiver": receiver.name})


def _samples_of_findings(lookout: LookOut) -> Iterator[Sample]:
    found, gauges = lookout.found(), {check.name: check.gauges for check in lookout.checks}
    counts: dict[tuple[str, str], int] = {}
    for finding in found:
        place = (finding.check, finding.state.value)
        counts[place] = counts.get(place, 0) + 1
    for (check, state), count in counts.items():
        yield Sample(name="undrift_findings", value=count, labels={"check": check, "state": state})
    for finding in found:
        for gauge in gauges.get(finding.check, ()):
            if gauge.figure in finding.figures:
                value = finding.figures[gauge.figure]
                yield Sample(name=gauge.metric, value=value, labels={"subject": finding.subject})


def _samples_of_aliases(plane: ControlPlane) -> Iterator[Sample]:
    for name in plane.ledger.aliases():
        state = plane.ledger.alias(name)
        if state is None:
            continue
        of = {"alias": name}
        for role, used in (("serving", state.route.serving), ("follower", state.route.follower)):
            known = plane.ledger.space(used.space) if used is not None else None
            if known is not None:
                space = known.space
                labels = {**of, "role": role, "channel": space.channel, "model": space.model, "space": space.id}
                yield Sample(name="undrift_space_info", value=1, labels=labels)
        yield Sample(name="undrift_documents_dirty", value=plane.ledger.lag(name).dirty, labels=of)
        yield Sample(name="undrift_documents_quarantined", value=plane.ledger.quarantined_count(name), labels=of)
        if state.migration is not None:
            migration = state.migration
            labels = {**of, "phase": migration.phase.value, "run_status": migration.run_status.value}
            yield Sample(name="undrift_migration_phase_info", value=1, labels=labels)
            _, published, pieces = plane.ledger.chunk_progress(migration.id)
            if pieces:
                yield Sample(name="undrift_migration_progress_ratio", value=published / pieces, labels=of)


def _samples_here() -> Iterator[Sample]:
    for metric in telemetry.Metric:
        yield Sample(name=metric.value, value=telemetry.counted(metric))
