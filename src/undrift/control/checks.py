"""Every check of the look-out, in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from undrift.control.ends import PROVIDER, look_at_ends, look_at_what_was_said
from undrift.control.trainings import RETRAIN, look_at_trainings
from undrift.domain.alert import Policy
from undrift.domain.sunset import CHECK as SUNSET
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
)
