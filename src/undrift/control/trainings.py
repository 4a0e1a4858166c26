"""Looks at whether a fine-tuned model is due to be trained again, by what the other checks have found."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from undrift.domain.finding import Finding
from undrift.domain.retraining import SPEAKS, advise, finding_of
from undrift.domain.route import AliasName

if TYPE_CHECKING:
    from undrift.control.plane import ControlPlane

#: The check of whether a training is due.
RETRAIN = "retrain"
#: Findings of an alias that are remembered: months of several looks a day.
_KEEP = 1000


def look_at_trainings(plane: ControlPlane) -> Iterable[Finding]:
    """Yield a finding for every alias that a model with a recorded checkpoint serves."""
    from undrift.control.lookout import LookOut

    now, lineage = plane.clock.now(), plane.lineages.read()
    seen = LookOut(plane).found()
    for name in plane.ledger.aliases():
        route = plane.ledger.route(name)
        made_by = lineage.of_space(route.serving.space) if route is not None else []
        if not made_by:
            continue
        subjects = (str(name), *(one.model for one in made_by))
        remembered = _remembered(plane, name, [one for one in seen if one.check in SPEAKS and one.concerns(subjects)])
        trained = max(one.moment for one in made_by)
        advice = advise(remembered, subjects=subjects, now=now, trained=trained)
        yield finding_of(advice, subject=name, now=now)


def _remembered(plane: ControlPlane, alias: AliasName, found: list[Finding]) -> list[Finding]:
    """Keep what is new of the findings, and return everything that is kept: how long something lasts is seen so."""
    series = f"{RETRAIN}/{alias}"
    kept = [Finding.from_dict(json.loads(one.text)) for one in plane.ledger.observed(series, limit=_KEEP)]
    known = {(one.key, one.moment) for one in kept}
    fresh = [one for one in found if (one.key, one.moment) not in known]
    for one in fresh:
        plane.ledger.observe(series, one.moment, json.dumps(one.as_dict()), keep=_KEEP)
    return [*kept, *fresh]
