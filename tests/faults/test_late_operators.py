"""Whoever stands still in the middle of a verb, and goes on when another migration runs, changes nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from undrift import Document
from undrift.control import ControlPlane
from undrift.domain.migration import Phase
from undrift.domain.plan import plan_start
from undrift.errors import ConflictError
from undrift.migrate.runner import Runner
from undrift.testing.rig import ALIAS, Layout, Process, Rig, documents

DOCUMENTS = documents(*[f"text {number}" for number in range(12)])
#: A verb that drops a field, and the model that the next migration goes to.
VERBS: dict[str, tuple[Callable[[ControlPlane], object], str]] = {
    "cancel --drop": (lambda plane: plane.cancel(ALIAS, drop=True), "new"),
    "complete": (lambda plane: plane.complete(ALIAS), "old"),
}


def migrated(rig: Rig, model: str) -> Process:
    """Let an operator and a worker bring a migration to a model so far that it could be cut over."""
    operator = rig.process("operator")
    operator.plane.register(ALIAS, model)
    rig.process("worker").work_to(Phase.READY, sample=0)
    return operator


@pytest.mark.parametrize("verb", VERBS)
def test_a_drop_that_comes_too_late_takes_no_field_of_a_later_migration(verb: str, folder: Path) -> None:
    rig = Rig(folder=folder, layout=Layout.MEMORY)
    rig.process().alias.upsert(DOCUMENTS)
    give, model = VERBS[verb]
    operator = migrated(rig, "new")
    if verb == "complete":
        operator.plane.cutover(ALIAS)
        rig.clock.sleep(1.0)
    stood_still = []

    def on_call(call: str) -> None:
        if call == "store.drop" and not stood_still:
            stood_still.append(call)
            other = rig.process("operator")
            give(other.plane)
            migrated(rig, model).plane.cutover(ALIAS)

    late = rig.process("operator")
    late.faults.on_call = on_call
    with pytest.raises(ConflictError, match="another migration of kb runs by now"):
        give(late.plane)

    assert stood_still
    route = rig.route()
    assert route.follower is not None
    assert rig.differences(route.serving, DOCUMENTS) == []
    assert rig.differences(route.follower, DOCUMENTS) == []
    assert rig.migration().phase is Phase.REVERSING  # type: ignore[union-attr]
    rig.close()


def test_a_worker_that_was_late_does_not_begin_the_back_fill_of_a_later_migration(folder: Path) -> None:
    """Its clients were awaited; those of the later migration were not (DRAIN BEFORE BACKFILL)."""
    rig = Rig(folder=folder, layout=Layout.MEMORY)
    app = rig.process()
    app.alias.upsert(DOCUMENTS)
    operator = rig.process("operator")
    first = operator.plane.register(ALIAS, "new")
    worker = rig.process("worker")
    late = Runner(workshop=worker.plane.workshop(ALIAS), who="worker", migration=first.id)
    late.run(plan_start(rig.route(), first))
    operator.plane.cancel(ALIAS, drop=True)
    second = operator.plane.register(ALIAS, "new")
    Runner(workshop=operator.plane.workshop(ALIAS), who="test", migration=second.id).run(
        plan_start(rig.route(), second)[:2]
    )

    with pytest.raises(ConflictError, match="another migration of kb runs by now"):
        late.enter(Phase.BACKFILL, was=Phase.JOURNALING)

    assert rig.migration().phase is Phase.JOURNALING  # type: ignore[union-attr]
    app.alias.upsert([Document(id="d03", text="written meanwhile")])
    rig.close()


def test_no_migration_of_an_alias_gets_a_field_of_a_name_that_another_one_had(folder: Path) -> None:
    rig = Rig(folder=folder, layout=Layout.MEMORY)
    rig.process().alias.upsert(DOCUMENTS)
    names = set()
    for _ in range(3):
        operator = rig.process("operator")
        names.add(operator.plane.register(ALIAS, "new").target.collection)
        operator.plane.cancel(ALIAS, drop=True)
    assert len(names) == 3
    rig.close()
