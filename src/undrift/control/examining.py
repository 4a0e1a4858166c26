"""Ask a model again for the vectors of some records of a field, and find out what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from undrift.control.migrations import Migrations
from undrift.domain.route import VectorField
from undrift.errors import UndriftError
from undrift.flow.embed import EmbeddingDoor
from undrift.migrate import sampling
from undrift.migrate.explaining import Explanation, Subject, explain
from undrift.ports.source import DocumentSource
from undrift.quality.sameness import CONFIDENCE, share_of

#: Ids of each kind that are shown.
SHOWN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What a random sample of a field's records showed.

    Attributes:
        total: records in the field.
        sampled: records that were read.
        examined: those that could be compared, and how they compare.
        explanations: what those that differ turned out to be.
        not_asked: other models that would have had to be asked, and why they were not.
        allowance: what it might spend, and spent so far.
    """

    total: int
    sampled: int
    examined: sampling.Examined
    explanations: list[Explanation]
    not_asked: list[str]
    allowance: sampling.Allowance

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        examined = self.examined
        differing = examined.differing
        compared = len(examined.records)
        known = examined.distances[np.isfinite(examined.distances)]
        interval = share_of(len(differing), compared, self.total)
        return {
            "sampled": self.sampled,
            "compared": compared,
            "matched": compared - len(differing),
            "differing": len(differing),
            "share": interval.share,
            "interval": [interval.low, interval.high],
            "confidence": CONFIDENCE,
            "ids": [examined.records[row].id for row in differing[:SHOWN]],
            "median_distance": float(np.median(known)) if len(known) else None,
            "max_distance": float(known.max()) if len(known) else None,
            "noise_floor": examined.noise,
            "limit": examined.limit,
            "unreadable": dict(sorted(examined.unreadable.items())),
            "explanations": [one.as_dict() for one in self.explanations],
            "not_asked": self.not_asked,
            "tokens": self.allowance.spent,
        }


class Examining(Migrations):
    """What adoption and audit have in common."""

    def examine(
        self,
        field: VectorField,
        model: str,
        source: DocumentSource,
        sample: int,
        *,
        salt: str,
        allowance: sampling.Allowance,
        again: bool,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> Examination:
        """Compare a random sample of a field with what a model gives now.

        Args:
            field: the field.
            model: the model's name in the configuration.
            source: where texts come from.
            sample: how many records.
            salt: decides which ones.
            allowance: what it may cost.
            again: whether what differs is to be explained.
            on_progress: told how many ids were listed.
        """
        store, door = self.store_of(field), self.model_door(model)
        self.door_of(self.recorded(model).space.id)
        (ids,), total = sampling.choose(store, field, [sample], salt=salt, on_progress=on_progress)
        records = [record for page in sampling.read(store, field, ids) for record in page]
        examined = sampling.examine(records, door, source, allowance, noise=None)
        rows = examined.differing
        explanations: list[Explanation] = []
        not_asked: list[str] = []
        if rows and again:
            others, not_asked = self._other_doors(model)
            subject = Subject(
                records=[examined.records[row] for row in rows],
                texts=[examined.texts[row] for row in rows],
                model=model,
                door=door,
                allowance=allowance,
                limit=examined.limit,
            )
            explanations = explain(subject, others)
        return Examination(
            total=total,
            sampled=len(records),
            examined=examined,
            explanations=explanations,
            not_asked=not_asked,
            allowance=allowance,
        )

    def _other_doors(self, model: str) -> tuple[dict[str, EmbeddingDoor], list[str]]:
        """Return the other configured models that cost nothing, and why the rest is not asked."""
        doors: dict[str, EmbeddingDoor] = {}
        left_out = []
        for name in sorted(self.config.settings.models):
            if name == model:
                continue
            with suppress(UndriftError):
                door = self.model_door(name)
                if door.limits.paid:
                    left_out.append(f"{name}: it is paid for")
                else:
                    doors[name] = door
                continue
            left_out.append(f"{name}: it cannot be reached")
        return doors, left_out
