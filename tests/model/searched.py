"""What is searched completely, and how many states each search has.

The counts are kept because a machine that has lost some of its moves breaks no promise either; it is seen by having
fewer states. Whoever changes the machine finds out why a count has changed, and writes the new one down.

Each row: who writes what, how often the roles are swapped, how many faults may happen, how many states there are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, TypeAlias

import pytest

from tests.model.scenario import Cutover, Deferral, Ending, Journaling, Scenario, Sending, clients

#: Above this many states a search takes more than a moment.
LARGE = 60_000

Row: TypeAlias = tuple[str, int, int, int]


class Searched(NamedTuple):
    """A scenario and the number of its reachable states."""

    scenario: Scenario
    states: int


def each(*tables: tuple[Searched, ...]) -> pytest.MarkDecorator:
    """Make one test of each row, which it is given as `searched`; the large ones are marked as long."""
    rows = [
        pytest.param(row, id=str(row.scenario), marks=[pytest.mark.long] if row.states > LARGE else [])
        for table in tables
        for row in table
    ]
    return pytest.mark.parametrize("searched", rows)


def _table(variation: Scenario, *rows: Row) -> tuple[Searched, ...]:
    return tuple(
        Searched(replace(variation, clients=clients(writes), flips=flips, faults=faults), states)
        for writes, flips, faults, states in rows
    )


LIVE = _table(
    Scenario(),
    ("U||D", 1, 1, 31_070),
    ("U;D", 2, 2, 18_900),
    ("U;D", 3, 1, 10_241),
    ("U||D", 2, 1, 40_146),
    ("U||D", 2, 2, 97_288),
    ("U;D||U", 2, 1, 188_829),
    ("U||D||U", 1, 0, 118_755),
)

FREEZE = _table(
    Scenario(cutover=Cutover.FREEZE),
    ("U;D", 2, 1, 8_186),
    ("U||D", 1, 1, 31_138),
    ("U||D", 1, 2, 74_882),
    ("U||D", 2, 1, 39_274),
    ("U||U", 1, 1, 35_559),
    ("U;D||U", 1, 1, 149_961),
    ("U;D||U", 2, 1, 184_287),
)

FORCED = _table(
    Scenario(cutover=Cutover.FORCED),
    ("U;D", 2, 1, 9_761),
    ("U||D", 2, 1, 43_568),
    ("U;D||U", 1, 1, 154_581),
    ("U;D||U", 2, 1, 200_691),
)

LATE = (
    *_table(Scenario(sending=Sending.LATE), ("U||D", 2, 1, 43_549), ("U;D||U", 1, 1, 160_506)),
    *_table(
        Scenario(sending=Sending.LATE, cutover=Cutover.FREEZE),
        ("U;D", 2, 1, 8_761),
        ("U||D", 2, 1, 42_614),
        ("U;D||U", 1, 1, 160_698),
        ("U;D||U", 2, 1, 198_978),
    ),
)

CHUNK = (
    *_table(
        Scenario(deferral=Deferral.CHUNK),
        ("U||D", 1, 1, 35_971),
        ("U;D", 2, 2, 21_288),
        ("U;D", 3, 1, 11_301),
        ("U||D", 2, 1, 45_047),
        ("U||D", 2, 2, 109_113),
        ("U;D||U", 2, 1, 210_278),
    ),
    *_table(
        Scenario(deferral=Deferral.CHUNK, cutover=Cutover.FREEZE),
        ("U;D", 2, 1, 9_246),
        ("U||D", 1, 1, 36_039),
        ("U||D", 1, 2, 86_707),
        ("U||D", 2, 1, 44_175),
        ("U||U", 1, 1, 41_223),
        ("U;D||U", 1, 1, 171_410),
        ("U;D||U", 2, 1, 205_736),
    ),
)

ENDING_LATER = (
    *_table(
        Scenario(ending=Ending.LATER),
        ("U||D", 1, 1, 49_966),
        ("U;D", 2, 2, 29_424),
        ("U;D", 3, 1, 17_633),
        ("U||D", 2, 1, 64_323),
    ),
    *_table(
        Scenario(ending=Ending.LATER, cutover=Cutover.FREEZE),
        ("U;D", 2, 1, 14_110),
        ("U||D", 1, 2, 106_661),
    ),
    *_table(
        Scenario(ending=Ending.LATER, deferral=Deferral.CHUNK),
        ("U||D", 2, 1, 72_061),
        ("U;D", 3, 1, 19_427),
        ("U;D||U", 2, 1, 502_879),
    ),
)

ONE_TRANSACTION = (
    *_table(
        Scenario(journaling=Journaling.ONE_TRANSACTION, deferral=Deferral.CHUNK),
        ("U||D", 1, 1, 1_623),
        ("U;D", 2, 2, 1_274),
        ("U;D", 3, 1, 945),
        ("U||D", 2, 1, 1_980),
        ("U||D", 2, 2, 3_282),
        ("U;D||U", 2, 1, 5_554),
        ("U;D||U", 3, 2, 10_874),
        ("U||D||U", 2, 2, 21_973),
    ),
    *_table(
        Scenario(journaling=Journaling.ONE_TRANSACTION),
        ("U||D", 1, 1, 1_435),
        ("U;D", 2, 2, 1_156),
        ("U;D", 3, 1, 874),
        ("U||D", 2, 1, 1_792),
        ("U||D", 2, 2, 2_954),
        ("U;D||U", 2, 1, 5_047),
    ),
    *_table(
        Scenario(journaling=Journaling.ONE_TRANSACTION, cutover=Cutover.FREEZE),
        ("U;D", 2, 1, 732),
        ("U||D", 1, 1, 1_471),
        ("U||D", 1, 2, 2_424),
        ("U||D", 2, 1, 1_799),
        ("U||U", 1, 1, 1_691),
        ("U;D||U", 1, 1, 4_157),
        ("U;D||U", 2, 1, 5_009),
    ),
)
