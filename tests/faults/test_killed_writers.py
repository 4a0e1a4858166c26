"""An application that is killed in the middle of a write leaves both fields equal, with the write or without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.faults.worlds import CHANGES, DOCUMENTS, World, cut_over, half_filled, ready
from undrift import Document
from undrift.domain.route import VectorField
from undrift.errors import ControlUnavailable, StoreUnavailable, UndriftError
from undrift.flow.alias import Alias
from undrift.testing.faults import Killed, When
from undrift.testing.rig import Layout

#: A write, and what it makes of the documents it is about; None is an absence.
WRITES: dict[str, tuple[Callable[[Alias], Any], dict[str, Document | None]]] = {
    "upsert": (
        lambda alias: alias.upsert([Document(id="d02", text="another text"), Document(id="new", text="a new one")]),
        {"d02": Document(id="d02", text="another text"), "new": Document(id="new", text="a new one")},
    ),
    "delete": (lambda alias: alias.delete(["d02", "d09"]), {"d02": None, "d09": None}),
    "delete by filter": (lambda alias: alias.delete(filter={"number": 5}), {"d05": None}),
    "metadata": (
        lambda alias: alias.update_metadata("d07", {"lang": "en"}),
        {"d07": replace(DOCUMENTS[7], metadata={**DOCUMENTS[7].metadata, "lang": "en"})},
    ),
}
POINTS = {"before a migration": lambda _: None, "in the back-fill": half_filled, "ready": ready, "cut over": cut_over}


def held(world: World, place: VectorField) -> dict[str, tuple[str, dict[str, Any]]]:
    return {id: (record.text, dict(record.metadata)) for id, record in world.rig.records(place).items()}


@pytest.mark.parametrize("layout", [Layout.MEMORY, Layout.ONE_FILE], ids=lambda layout: layout.value)
@pytest.mark.parametrize("point", POINTS)
def test_killed_in_a_write_an_application_leaves_no_half_of_it(folder: Path, point: str, layout: Layout) -> None:
    template = World.fresh(folder / "template", layout)
    POINTS[point](template)
    for name, (write, outcome) in WRITES.items():
        calm = template.again(folder / f"{name}-undisturbed")
        process = calm.rig.process("app")
        before = calm.truth
        after = {id: one for id, one in {**before, **outcome}.items() if one is not None}
        write(process.alias)
        places = [place for place, call in enumerate(process.faults.calls) if call in CHANGES]

        for place in (*places, None):
            world = template.again(folder / f"{name}-{place}")
            process = world.rig.process("app")
            if place is not None:
                process.faults.kill_at(place, When.AFTER)
                with pytest.raises(Killed):
                    write(process.alias)
                world.rig.kill(process)
                world.rig.roll.known = place % 2 == 0
            else:
                write(process.alias)
                process.plane.close()
            world.rig.clock.advance(world.rig.timing["deadline_s"] + world.rig.timing["fence_horizon_s"] + 1)

            world.drain()

            where = f"{name}, killed after call {place}: {process.faults.calls[-1]}"
            route = world.rig.route()
            serving = held(world, route.serving)
            assert not world.rig.mistakes(route.serving), where
            allowed = [after] if place is None else [before, after]
            assert serving in [{id: (one.text, dict(one.metadata)) for id, one in truth.items()} for truth in allowed], where
            if route.follower is not None and point != "in the back-fill":
                assert not world.rig.mistakes(route.follower), where
                assert held(world, route.follower) == serving, where
            world.rig.close()


@pytest.mark.parametrize("call", ["store.upsert", "ledger.open", "ledger.close"])
@pytest.mark.parametrize("when", When, ids=lambda when: when.value)
def test_a_write_whose_answer_is_lost_is_never_acknowledged_and_never_half_there(
    folder: Path, call: str, when: When
) -> None:
    world = World.fresh(folder / "world", Layout.MEMORY)
    ready(world)
    process = world.rig.process("app")
    alias = process.alias
    process.faults.fail(call, lambda: _outage(call), when=when)

    with pytest.raises(UndriftError) as raised:
        alias.upsert([Document(id="d02", text="another text")])

    assert raised.value.retryable
    world.rig.clock.advance(60.0)
    world.drain()
    route = world.rig.route()
    assert held(world, route.serving) == held(world, route.follower)
    assert not world.rig.mistakes(route.serving) + world.rig.mistakes(route.follower)
    assert alias.upsert([Document(id="d02", text="another text")]).ids == ("d02",)
    world.rig.close()


def _outage(call: str) -> UndriftError:
    return (StoreUnavailable if call.startswith("store") else ControlUnavailable)("it does not answer")
