"""A plan is computed from the state: what is done already is left out, so a killed plan is resumed by asking again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.domain.test_migration import A, B, migration
from undrift.domain.migration import Phase
from undrift.domain.plan import (
    MAX_DIRTY_AT_CUTOVER,
    AwaitClients,
    AwaitScans,
    AwaitWorkers,
    CreateField,
    Drain,
    DropField,
    Finish,
    Flip,
    HoldWrites,
    JournalWrites,
    Plan,
    SettleForeign,
    Step,
    StopJournal,
    describe,
    plan_cancel,
    plan_completion,
    plan_cutover,
    plan_rollback,
    plan_start,
)
from undrift.domain.route import AliasName, Mode, Route

PASSIVE = Route(alias=AliasName("kb"), epoch=4, mode=Mode.PASSIVE, serving=A)
JOURNAL = Route(alias=AliasName("kb"), epoch=5, mode=Mode.JOURNAL, serving=A, follower=B)
FLIPPED = replace(JOURNAL, epoch=6, serving=B, follower=A)
ENDED = Route(alias=AliasName("kb"), epoch=7, mode=Mode.PASSIVE, serving=B)


def test_a_start_makes_the_field_before_it_journals_and_waits_before_anything_is_read() -> None:
    assert plan_start(PASSIVE, migration(Phase.REGISTERED)) == (
        CreateField(field=B),
        JournalWrites(),
        AwaitClients(epoch=5),
    )
    assert plan_start(JOURNAL, migration(Phase.JOURNALING)) == (AwaitClients(epoch=5),)
    assert plan_start(JOURNAL, migration(Phase.BACKFILL)) == ()


def test_where_scans_lag_they_are_awaited_after_the_last_client_and_again_after_a_crash() -> None:
    awaited = AwaitScans(field=A, seconds=10.0)
    assert plan_start(PASSIVE, migration(Phase.REGISTERED), scans_lag_s=10.0)[-2:] == (AwaitClients(epoch=5), awaited)
    assert plan_start(JOURNAL, migration(Phase.JOURNALING), scans_lag_s=10.0) == (AwaitClients(epoch=5), awaited)
    assert plan_start(JOURNAL, migration(Phase.BACKFILL), scans_lag_s=10.0) == ()
    assert describe(awaited) == f"wait 10 s: scans of {A.key} lag"


def test_a_cutover_drains_flips_and_settles_what_it_left() -> None:
    plan = plan_cutover(JOURNAL, migration(Phase.READY), freeze_s=None, accept_quarantine=False)
    flip = Flip(to=B.key, phase=Phase.REVERSING, max_dirty=MAX_DIRTY_AT_CUTOVER, max_quarantined=0)
    assert plan == (Drain(at_most=MAX_DIRTY_AT_CUTOVER), flip, SettleForeign())


def test_a_frozen_cutover_flips_when_nothing_is_dirty_and_tells_outside_readers() -> None:
    plan = plan_cutover(JOURNAL, migration(Phase.READY), freeze_s=2.0, accept_quarantine=True)
    flip = Flip(to=B.key, phase=Phase.REVERSING, max_dirty=0, max_quarantined=None)
    assert plan == (HoldWrites(seconds=2.0), flip, SettleForeign())


def test_a_cutover_that_was_killed_after_its_flip_only_settles() -> None:
    plan = plan_cutover(FLIPPED, migration(Phase.REVERSING), freeze_s=None, accept_quarantine=False)
    assert plan == (SettleForeign(),)


def test_a_rollback_at_once_flips_whatever_is_dirty_and_an_ordinary_one_drains_first() -> None:
    flip = Flip(to=A.key, phase=Phase.ROLLED_BACK, max_dirty=None, max_quarantined=None)
    assert plan_rollback(FLIPPED, migration(Phase.REVERSING), drain=False) == (flip, SettleForeign())
    drained = plan_rollback(FLIPPED, migration(Phase.REVERSING), drain=True)
    assert drained == (
        Drain(at_most=MAX_DIRTY_AT_CUTOVER),
        replace(flip, max_dirty=MAX_DIRTY_AT_CUTOVER),
        SettleForeign(),
    )
    assert plan_rollback(JOURNAL, migration(Phase.ROLLED_BACK), drain=False) == (SettleForeign(),)


def test_a_completion_drops_the_source_only_after_everybody_has_left_it() -> None:
    plan = plan_completion(FLIPPED, migration(Phase.REVERSING))
    assert plan == (
        StopJournal(phase=Phase.RETIRING),
        AwaitClients(epoch=7),
        AwaitWorkers(),
        DropField(field=A),
        Finish(phase=Phase.DONE),
    )
    assert plan_completion(ENDED, migration(Phase.RETIRING)) == plan[1:]


def test_a_migration_that_was_rolled_back_is_cancelled_when_no_truth_is_left_in_its_target() -> None:
    """Found by the simulation: a rollback was interrupted, and the cancellation dropped the last text of a document."""
    plan = plan_cancel(JOURNAL, migration(Phase.ROLLED_BACK), drop=True)

    kinds = [type(step) for step in plan]
    assert kinds.index(SettleForeign) < kinds.index(StopJournal) < kinds.index(DropField)


@pytest.mark.parametrize("drop", [False, True])
def test_a_cancelled_migration_keeps_its_target_unless_it_is_to_be_dropped(drop: bool) -> None:
    plan = plan_cancel(JOURNAL, migration(Phase.BACKFILL), drop=drop)
    assert plan[:3] == (StopJournal(phase=Phase.ABORTING), AwaitClients(epoch=6), AwaitWorkers())
    assert (DropField(field=B) in plan) is drop
    assert DropField(field=A) not in plan
    assert plan[-1] == Finish(phase=Phase.ABORTED)
    resumed = plan_cancel(replace(PASSIVE, epoch=6), migration(Phase.ABORTING), drop=drop)
    assert resumed == plan[1:]


def test_every_step_can_be_said_in_words() -> None:
    plans: list[Plan] = [
        plan_start(PASSIVE, migration(Phase.REGISTERED), scans_lag_s=10.0),
        plan_cutover(JOURNAL, migration(Phase.READY), freeze_s=2.0, accept_quarantine=False),
        plan_rollback(FLIPPED, migration(Phase.REVERSING), drain=True),
        plan_completion(FLIPPED, migration(Phase.REVERSING)),
        plan_cancel(FLIPPED, migration(Phase.BACKFILL), drop=False, has_batches=True),
    ]
    said = {type(step): describe(step) for plan in plans for step in plan}
    assert set(said) == set(Step.__args__)  # type: ignore[attr-defined]
    assert all(len(sentence) > 10 for sentence in said.values())
