"""A process that is killed after any change it made leaves nothing that the next one cannot finish."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from tests.faults.worlds import CHANGES, IN_PLACE, VERBS, Verb, World, attempt, paid_twice, resume
from undrift.ports.store import Layout as StoreLayout
from undrift.testing.faults import When
from undrift.testing.rig import CHUNK_SIZE, Layout


def undisturbed(world: World, verb: Verb, changes: Collection[str]) -> list[int]:
    """Let the verb run to its end; returns the places of the calls that change something."""
    process = world.rig.process("operator")
    assert attempt(world, verb, process)
    assert world.phase() is verb.after
    world.drain()
    assert not paid_twice(world)
    assert not world.faults()
    return [place for place, call in enumerate(process.faults.calls) if call in changes]


#: What the layout has a part in; the rest is killed where each field has records of its own.
AT_THE_STORE = {call for call in CHANGES if call.startswith("store.")} | {"ledger.publish", "ledger.claim"}
#: One file is another way of writing; that of workers and operators is the same.
CASES = [(verb, Layout.MEMORY) for verb in VERBS] + [
    (verb, Layout.ONE_FILE) for verb in VERBS if verb.name in ("start", "rollback --now", "complete")
]


@pytest.mark.parametrize(
    ("verb", "layout"), CASES, ids=[f"{verb.name.replace(' ', '_')}-{layout.value}" for verb, layout in CASES]
)
def test_killed_after_any_change_a_verb_ends_as_if_undisturbed(folder: Path, verb: Verb, layout: Layout) -> None:
    template = World.fresh(folder / "template", layout)
    verb.before(template)
    killed_anywhere(folder, template, verb, CHANGES)


@pytest.mark.parametrize("verb", IN_PLACE, ids=[verb.name.replace(" ", "_") for verb in IN_PLACE])
def test_nor_is_anything_left_in_records_that_both_fields_share(folder: Path, verb: Verb) -> None:
    template = World.fresh(folder / "template", Layout.MEMORY, StoreLayout.IN_PLACE)
    verb.before(template)
    migration = template.rig.migration()
    assert migration is not None
    assert migration.is_in_place
    killed_anywhere(folder, template, verb, AT_THE_STORE)


def killed_anywhere(folder: Path, template: World, verb: Verb, changes: Collection[str]) -> None:
    """Kill a verb after each of some changes it makes, and let it be finished."""
    calls = undisturbed(template.again(folder / "undisturbed"), verb, changes)
    assert calls

    for place in calls:
        world = template.again(folder / f"killed-{place}")
        # Every other time the system knows that the process is dead; else its leases have to run out.
        world.rig.roll.known = place % 2 == 0
        process = world.rig.process("operator")
        process.faults.kill_at(place, When.AFTER)
        assert not attempt(world, verb, process), f"call {place} was not reached"
        killed_after = process.faults.calls[-1]

        resume(world, verb)
        world.write()
        world.drain()

        # The batch that was under way is lost at most; what was paid for before is in the cache or in the field.
        assert paid_twice(world) <= CHUNK_SIZE, f"killed after call {place}, {killed_after}"
        faults = world.faults()
        assert not faults, f"killed after call {place}, {killed_after}: {faults}"
        world.rig.close()
