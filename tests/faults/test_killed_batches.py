"""Whoever dies between two steps of a batch job, and whatever answer is lost: each text is paid for once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.batches import DOCUMENTS, SERVICES, Scene, scene
from undrift.domain.batch import JobState
from undrift.domain.migration import Phase
from undrift.testing.faults import Faults, When

#: What leaves something behind that the next worker finds: a worker that dies after any of these leaves every state
#: that a job can be in.
LEAVES_BEHIND = (
    *(("ledger.save_job", nth) for nth in range(13)),
    *(("batch.upload", 0), ("batch.create", 0), ("batch.results", 0), ("batch.remove", 0)),
    *(("ledger.add_job", 0), ("ledger.published", 1), ("batch.line", 5)),
)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that waits for the provider looks every few seconds of virtual time: it waits for hours."""
    monkeypatch.setattr("undrift.migrate.engine._IDLE_S", 5.0)


def paid_once(world: Scene) -> None:
    """Every text was embedded by a job, none twice, none at the full price, and nothing is left anywhere."""
    assert world.batched == {document.text: 1 for document in DOCUMENTS}
    assert not world.online
    assert not world.faults()
    assert [job.state for job in world.jobs() if job.items] == [JobState.DONE]
    assert not world.litter
    assert not list((world.rig.folder / "ledger.db-batches").glob("*"))
    migration = world.rig.migration()
    assert migration is not None
    billed = sum(job.tokens for job in world.provider.batches.jobs)
    # What the proofs of the model cost has the full price, and is counted apart.
    assert migration.tokens_before == billed
    assert migration.usd_before == pytest.approx(billed * 1.0 / 1e6), "half of two dollars a million"


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    ("call", "nth"), LEAVES_BEHIND, ids=[f"{call.partition('.')[2]}-{nth}" for call, nth in LEAVES_BEHIND]
)
def test_a_worker_that_dies_between_two_steps_of_a_job_pays_for_no_text_twice(
    folder: Path, call: str, nth: int, service: str
) -> None:
    with scene(folder, service=service) as world:
        world.begin()
        worker = world.rig.process("worker")
        worker.faults.on_answer = _deadly(worker.faults, call, nth)

        assert not world.work_in_spite_of_death(worker), "the call was not reached"
        world.work_to(Phase.CATCHUP)

        paid_once(world)


def _deadly(faults: Faults, call: str, nth: int) -> Callable[[str, object], None]:
    """Return what lets a process die after the n-th call of a name."""
    left = [nth]

    def on_answer(name: str, _: object) -> None:
        if name == call:
            if not left[0]:
                faults.kill_at(-1, When.AFTER)
            left[0] -= 1

    return on_answer


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("call", ["upload", "create", "show", "content", "files"])
def test_an_answer_that_is_lost_costs_no_second_job(folder: Path, call: str, service: str) -> None:
    with scene(folder, service=service) as world:
        world.provider.batches.lose(call)
        world.begin()

        world.work_to(Phase.CATCHUP)

        paid_once(world)
        assert len(world.provider.batches.jobs) == 1


@pytest.mark.parametrize("service", SERVICES)
def test_a_job_that_is_not_in_the_list_yet_is_waited_for(folder: Path, service: str) -> None:
    with scene(folder, service=service) as world:
        world.provider.batches.lose("create")
        world.provider.batches.hidden_s = 90.0
        world.begin()

        world.work_to(Phase.CATCHUP)

        paid_once(world)
        assert len(world.provider.batches.jobs) == 1


def test_a_job_that_shows_up_too_late_is_called_off(folder: Path) -> None:
    """Nobody waits for ever: what was begun twice after all is paid for once."""
    with scene(folder) as world:
        endpoints = world.provider.batches
        endpoints.lose("create")
        endpoints.hidden_s = 150.0
        world.begin()

        world.work_to(Phase.CATCHUP)

        assert len(endpoints.jobs) == 2
        assert sorted(job.status for job in endpoints.jobs) in (
            ["cancelling", "completed"],
            ["completed", "validating"],
        )
        assert world.batched == {document.text: 1 for document in DOCUMENTS}
