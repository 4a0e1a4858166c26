"""Every check of the look-out, in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from undrift.control.drifting import look_at_documents, look_at_queries, look_at_retrieval, look_for_foreign
from undrift.control.ends import PROVIDER, look_at_ends, look_at_what_was_said
from undrift.control.trainings import RETRAIN, look_at_trainings
from undrift.domain.alert import Policy
from undrift.domain.sunset import CHECK as SUNSET
from undrift.watch import corpus, foreign, queries, retrieval
from undrift.watch.check import Check, Gauge
from undrift.watch.probe import CHECK as PROBE

if TYPE_CHECKING:
    from undrift.control.plane import ControlPlane

HOUR_S, DAY_S = 3600.0, 86_400.0

CHECKS: tuple[Check[ControlPlane], ...] = (
    Check(
        name=SUNSET,
        about="ends of models that aliases have vectors of",
        look=look_at_ends,
        every_s=DAY_S,
        # Its levels, 180 to 1 days before, are its reminders; a date needs no second look.
        policy=Policy(looks_to_resolve=1, renotify_s=None),
        gauges=(
            Gauge(
                figure="end_timestamp_seconds",
                metric="undrift_sunset_end_timestamp_seconds",
                about="When a model ends that an alias has vectors of.",
            ),
        ),
    ),
    Check(
        name=PROVIDER,
        about="what providers say of their models while they are used",
        look=look_at_what_was_said,
        every_s=HOUR_S,
        policy=Policy(looks_to_resolve=1, renotify_s=None),
    ),
    Check(
        name=PROBE,
        about="whether models with a baseline still give the vectors that they gave",
        look=lambda plane: plane.probe_findings(),
        every_s=HOUR_S,
        # A look confirms its own alarm by a second one at once.
        policy=Policy(),
        gauges=(
            Gauge(
                figure="displacement_ratio",
                metric="undrift_probe_displacement_ratio",
                about="How far a model's vectors are from its baseline, as a cosine distance without the noise.",
            ),
            Gauge(
                figure="noise_ratio",
                metric="undrift_probe_noise_ratio",
                about="How far a model's answers to one text are apart.",
            ),
            Gauge(figure="p_value", metric="undrift_probe_p_value_ratio", about="The p-value of the last look."),
        ),
    ),
    Check(
        name=RETRAIN,
        about="whether a fine-tuned model is due to be trained again",
        look=look_at_trainings,
        every_s=DAY_S,
        # The rule itself waits for what lasts; a week is soon enough to be told again.
        policy=Policy(looks_to_resolve=1, renotify_s=7 * DAY_S),
    ),
    Check(
        name=corpus.CHECK,
        about="documents about something else than when the reference was taken",
        look=look_at_documents,
        every_s=DAY_S,
        policy=Policy(looks_to_raise=2),
        gauges=(
            Gauge(
                figure="novel_ratio",
                metric="undrift_documents_novel_ratio",
                about="Share of the documents that are about what was not there before.",
            ),
        ),
    ),
    Check(
        name=queries.CHECK,
        about="queries about something else, and searches that find nothing",
        look=look_at_queries,
        every_s=DAY_S,
        policy=Policy(looks_to_raise=2),
        gauges=(
            Gauge(
                figure="novel_ratio",
                metric="undrift_queries_novel_ratio",
                about="Share of the queries that are about what was not asked before.",
            ),
            Gauge(
                figure="without_result_ratio",
                metric="undrift_queries_without_result_ratio",
                about="Share of the searches that find nothing.",
            ),
        ),
    ),
    Check(
        name=retrieval.CHECK,
        about="golden queries whose answers have changed",
        look=look_at_retrieval,
        every_s=DAY_S,
        policy=Policy(looks_to_raise=2),
        gauges=(
            Gauge(
                figure="overlap_ratio",
                metric="undrift_retrieval_overlap_ratio",
                about="Share of the first ten hits of golden queries that are those of the baseline.",
            ),
        ),
    ),
    Check(
        name=foreign.CHECK,
        about="vectors that may be of another model",
        look=look_for_foreign,
        every_s=DAY_S,
        policy=Policy(looks_to_raise=2, renotify_s=None),
        gauges=(
            Gauge(
                figure="conductance",
                metric="undrift_foreign_conductance_ratio",
                about="How wide the narrowest place among the vectors is; below 0.025 they may be of two models.",
            ),
        ),
    ),
)
