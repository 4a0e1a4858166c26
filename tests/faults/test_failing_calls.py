"""A back-end that fails once, at any call, before or after it did what it was asked for, is waited out or said to be down."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.worlds import CHANGES, VERBS, Verb, World, attempt, paid_twice, resume
from undrift.domain.migration import RunStatus
from undrift.errors import ControlUnavailable, EmbedderUnavailable, GateFailed, StoreUnavailable, UndriftError
from undrift.testing.faults import When
from undrift.testing.rig import CHUNK_SIZE, Layout

#: What a port raises when it cannot be reached, and how often: a model is asked four times before it is given up.
OUTAGES = {"store": (StoreUnavailable, 1), "ledger": (ControlUnavailable, 1), "model": (EmbedderUnavailable, 4)}


#: Calls that cannot fail: they touch nothing that could.
NEVER = frozenset({"ledger.transaction_with", "ledger.close_ledger", "store.close", "model.close", "model.count_tokens"})
#: The others make the same calls in another order.
TRIED = [verb for verb in VERBS if verb.name not in ("cutover --freeze-writes", "cancel --drop")]


def places(calls: list[str]) -> list[tuple[str, int, When]]:
    """Every call by its name and its number among those of that name, and on which side of it the failure is.

    The worst is a change that was made and whose answer is lost.
    """
    return [
        (call, calls[:place].count(call), When.AFTER if call in CHANGES - {"model.embed_documents"} else When.BEFORE)
        for place, call in enumerate(calls)
        if call not in NEVER
    ]


@pytest.mark.parametrize("verb", TRIED, ids=lambda verb: verb.name.replace(" ", "_"))
def test_after_a_call_that_failed_a_verb_ends_as_if_undisturbed(folder: Path, verb: Verb) -> None:
    template = World.fresh(folder / "template", Layout.MEMORY)
    verb.before(template)
    calm = template.again(folder / "undisturbed")
    process = calm.rig.process("operator")
    attempt(calm, verb, process)

    for call, number, when in places(process.faults.calls):
        world = template.again(folder / f"{call}-{number}")
        process = world.rig.process("operator")
        error, times = OUTAGES[call.partition(".")[0]]
        process.faults.fail(call, lambda error=error: error("it does not answer"), when=when, skip=number, times=times)
        where = f"{call} failed for the {number + 1}. time, {when.value} it was done"
        try:
            attempt(world, verb, process)
        except UndriftError as raised:
            # A gate that cannot be looked at is closed, and says why.
            assert raised.retryable or isinstance(raised, GateFailed), f"{where}: {raised!r}"
        process.faults.heal()
        migration = world.rig.migration()
        assert migration is None or migration.run_status is RunStatus.RUNNING, f"{where}: {migration.reason}"

        resume(world, verb)
        world.write()
        world.drain()

        assert paid_twice(world) <= CHUNK_SIZE, where
        assert not world.faults(), where
        world.rig.close()
