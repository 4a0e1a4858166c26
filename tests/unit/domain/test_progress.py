"""How far it is and how long it takes: an estimate only where there is something to estimate from."""

from __future__ import annotations

import pytest

from undrift.domain.checkpoint import Progress
from undrift.domain.route import AliasName, Mode, Route, VectorField
from undrift.domain.space import SpaceId


@pytest.mark.parametrize(
    ("total", "done", "rate", "eta"),
    [
        (1000, 500, 10.0, 50.0),
        (1000, 10, 10.0, 99.0),
        (1000, 9, 10.0, None),
        (1000, 500, None, None),
        (1000, 500, 0.0, None),
        (1000, 1000, None, 0.0),
        (1000, 1001, 10.0, 0.0),
        (0, 0, None, 0.0),
    ],
)
def test_an_estimate_is_withheld_until_it_is_more_than_a_guess(
    total: int, done: int, rate: float | None, eta: float | None
) -> None:
    progress = Progress(total=total, done=done, rate_per_s=rate)

    assert progress.eta_s == eta
    shown = {"total": total, "done": done, "rate_per_s": rate, "eta_s": eta, "eta_least_s": None, "eta_most_s": None}
    assert progress.as_dict() == shown


def test_a_document_is_carried_to_the_field_that_does_not_hold_its_truth() -> None:
    here = VectorField(store="main", collection="kb", space=SpaceId("old"))
    there = VectorField(store="main", collection="kb__new", space=SpaceId("new"))
    route = Route(alias=AliasName("kb"), epoch=1, mode=Mode.JOURNAL, serving=here, follower=there)

    assert (here.key, there.key) == ("main/kb", "main/kb__new")
    assert route.other(here.key) == there
    assert route.other(there.key) == here
    assert Route(alias=AliasName("kb"), epoch=1, mode=Mode.PASSIVE, serving=here).other(here.key) is None
