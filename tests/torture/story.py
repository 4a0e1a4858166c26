"""What happens to a collection in a round, chosen by a seed: the way there, and how it ends."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Two lists of goals for a coordinator; after each of them everything is compared.

    Attributes:
        way: up to a point where two fields are alive.
        end: from there to the end of the migration.
    """

    way: tuple[str, ...]
    end: tuple[str, ...]


def story(chance: random.Random, target: str) -> Story:
    """Choose a story of a migration to a model."""
    way = [f"start:{target}"]
    if chance.random() < 0.3:
        way.append("ready")
        way += _dwell(chance)
        return Story(way=tuple(way), end=_cancelled(chance))
    way += ["ready", *_cutover(chance), *_dwell(chance)]
    if chance.random() < 0.7:
        way += [chance.choice(["rollback:now", "rollback:now", "rollback"]), "settled", *_dwell(chance)]
        if chance.random() < 0.3:
            return Story(way=tuple(way), end=_cancelled(chance))
        way += [*_cutover(chance), *_dwell(chance)]
    return Story(way=tuple(way), end=("complete", *_dwell(chance)))


def _cutover(chance: random.Random) -> list[str]:
    return [chance.choice(["cutover", "cutover", "cutover:0.5"]), "settled"]


def _cancelled(chance: random.Random) -> tuple[str, ...]:
    return (chance.choice(["cancel", "cancel:drop"]), *_dwell(chance))


def _dwell(chance: random.Random) -> list[str]:
    return [f"dwell:{chance.uniform(0.2, 1.0):.2f}"]
