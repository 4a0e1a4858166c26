"""What `doctor` finds about an alias, and the command that mends each of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.unit.migrate.scene import Scene
from undrift import Document
from undrift.domain.client import ClientId
from undrift.domain.migration import Phase, RunStatus
from undrift.domain.record import DocumentId
from undrift.release import VERSION
from undrift.testing.rig import ALIAS


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path).begin(Phase.READY)
    yield made
    made.rig.close()


def bad(scene: Scene) -> dict[str, tuple[str, str]]:
    """What is not as it should be, as the operator's doctor finds it: check → detail and hint."""
    findings = scene.operator.plane.alias_findings(ALIAS)
    return {one.check: (one.detail, one.hint) for one in findings if not one.ok}


def gone(scene: Scene) -> None:
    """Let every other process have ended its lease."""
    for process in (scene.worker, scene.app):
        process.plane.router.close()


def register(scene: Scene, *, version: str = VERSION, lease_s: float = 1000.0, process: str = "") -> ClientId:
    client = ClientId("stranger")
    scene.ledger.register_client(
        client, host="box", pid=4711, role="app", version=version, lease_s=lease_s, process=process
    )
    scene.ledger.join(client, ALIAS)
    return client


def test_where_all_is_well_nothing_is_found(scene: Scene) -> None:
    assert bad(scene) == {}


def test_a_client_of_another_version_is_named(scene: Scene) -> None:
    register(scene, version="0.0.7")

    assert bad(scene) == {
        "versions of kb": (
            f"this is undrift {VERSION}, and there is app pid 4711 on box with 0.0.7",
            f"pip install undrift=={VERSION} on box, and restart it",
        )
    }


def test_a_client_that_does_not_acknowledge_is_named_with_its_process(scene: Scene) -> None:
    register(scene)
    scene.operator.plane.cutover(ALIAS)

    detail, hint = bad(scene)["clients of kb"]

    assert detail == "1 client not yet at epoch 3: app pid 4711 on box"
    assert hint.startswith("kill 4711 on box, or wait: at most ")


def test_a_client_that_is_about_to_acknowledge_is_given_the_time(scene: Scene) -> None:
    scene.operator.plane.cutover(ALIAS)

    assert bad(scene) == {}


def test_a_lease_that_has_lapsed_is_named_unless_its_process_is_gone(scene: Scene) -> None:
    register(scene, lease_s=1.0, process="box-process")
    scene.rig.clock.sleep(2)

    detail, hint = bad(scene)["leases of kb"]
    assert detail == "1 lease not prolonged in time: app pid 4711 on box"
    assert hint == "see why it hangs, or kill 4711 on box; it writes nothing meanwhile"

    scene.rig.roll.gone.add("box-process")
    assert "leases of kb" not in bad(scene)


def test_a_clock_that_is_behind_the_history_is_named(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    now = scene.rig.clock.now()
    monkeypatch.setattr(scene.rig.clock, "now", lambda: now - timedelta(hours=1))

    detail, hint = bad(scene)["clock of kb"]

    assert "ahead of this machine's clock" in detail
    assert hint.startswith("timedatectl set-ntp true")


def test_writes_that_nobody_can_end_are_named(scene: Scene) -> None:
    who = scene.app.plane.router.client
    scene.ledger.open(ALIAS, [DocumentId("d00")], client=who, deadline_s=1000.0)
    gone(scene)

    detail, hint = bad(scene)["writes of kb"]

    assert detail == f"1 write is open, of {who} for at most 1,000 s, and no client is alive that could end it"
    assert hint == "undrift worker kb, which gives up what is not ended in time"


def test_a_write_that_another_program_takes_hours_for_is_named(scene: Scene) -> None:
    scene.ledger.open(ALIAS, [DocumentId("d00")], client=ClientId("billing-7"), deadline_s=7200.0)

    detail, _ = bad(scene)["writes of kb"]

    assert detail == "1 write is open, of billing-7 for at most 7,200 s"


def test_the_lease_of_another_programs_write_is_no_process_to_kill_or_upgrade(scene: Scene) -> None:
    """Pid 0 stands for no process, and `kill 0` would end the operator's own."""
    lease = ClientId("billing-7@2")
    scene.ledger.register_client(lease, host="box", pid=0, role="sql", version="", lease_s=60.0)
    scene.ledger.join(lease, ALIAS)
    assert bad(scene) == {}

    scene.operator.plane.cutover(ALIAS)
    detail, hint = bad(scene)["clients of kb"]
    assert detail == "1 client not yet at epoch 3: the program billing-7 on box"
    assert hint.startswith("wait: at most ")

    scene.rig.clock.sleep(61)
    assert "leases of kb" not in bad(scene)


def test_dirty_documents_without_a_worker_are_named(scene: Scene) -> None:
    scene.write(Document(id="d00", text="newer"))
    scene.worker.plane.router.close()

    assert bad(scene)["work of kb"] == ("1 document is dirty, and no worker is alive", "undrift worker kb")


def test_a_claim_of_a_worker_that_is_gone_is_named(scene: Scene) -> None:
    scene.write(Document(id="d00", text="newer"))
    scene.ledger.claim(ALIAS, owner=scene.worker.plane.router.client, limit=1, lease_s=30.0, settle_s=5.0)
    scene.worker.plane.router.close()

    detail, hint = bad(scene)["work of kb"]

    assert detail == "1 piece or document that a worker held, and no worker is alive"
    assert hint == "undrift worker kb"


def test_a_halt_and_a_stop_are_to_be_mended_and_a_pause_is_meant(scene: Scene) -> None:
    plane = scene.operator.plane
    plane.pause(ALIAS)
    assert bad(scene) == {}
    plane.resume(ALIAS)

    plane.panic(ALIAS)
    assert bad(scene)["migration of kb"][1] == "undrift resume kb"
    plane.resume(ALIAS)

    scene.ledger.save_run_status(scene.migration.id, RunStatus.HALTED, reason="the model changed · Hint: x", who="w")
    assert bad(scene)["migration of kb"] == (
        "it is halted: the model changed",
        "undrift status kb, then undrift resume kb",
    )


def test_a_field_that_is_gone_is_named(scene: Scene) -> None:
    scene.rig.store().drop(scene.migration.target)

    assert bad(scene)["alias kb"] == (
        f"collection {scene.migration.target.collection} is gone",
        "restore the store from a backup",
    )
