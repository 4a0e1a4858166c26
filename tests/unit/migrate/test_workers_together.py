"""Several workers of one migration: what one has done already is no fault to another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from undrift.config import parse
from undrift.control.plane import ControlPlane
from undrift.domain.migration import Migration, Phase, RunStatus
from undrift.domain.record import Document
from undrift.domain.route import AliasName
from undrift.errors import SpaceMismatch, UnknownModel
from undrift.migrate.engine import Tick, Worker
from undrift.migrate.sync import carry_dirty
from undrift.testing.clock import VirtualClock

pytest.importorskip("sqlite_vec")

KB = AliasName("kb")
SETTINGS = {
    "ledger": "sqlite:///undrift.db",
    "stores": {"main": {"url": "sqlite-vec:./vectors.db"}},
    "models": {"old": {"provider": "hashing", "dimensions": 16}, "new": {"provider": "hashing", "dimensions": 32}},
    "aliases": {"kb": {"store": "main", "model": "old"}},
}


class Office:
    """Processes of one installation, in one process and under one clock that moves only when somebody sleeps."""

    def __init__(self, folder: Path) -> None:
        self.clock = VirtualClock()
        self._config = parse(SETTINGS, folder / "undrift.toml")
        self._planes: list[ControlPlane] = []

    def plane(self) -> ControlPlane:
        plane = ControlPlane(self._config, clock=self.clock, heartbeat=False)
        self._planes.append(plane)
        return plane

    def worker(self, on_wait: Callable[[str], None] = lambda _: None) -> Worker:
        return Worker(workshop=self.plane().workshop(KB), who="test", on_wait=on_wait)

    def close(self) -> None:
        for plane in self._planes:
            plane.close()


@pytest.fixture
def office(tmp_path: Path) -> Office:
    office = Office(tmp_path)
    plane = office.plane()
    plane.alias("kb").upsert([Document(id=f"d{n}", text=f"document {n}") for n in range(5)])
    plane.register("kb", "new")
    # It is idle from now on: its lease ends when the time has come.
    yield office
    office.close()


def is_ready(migration: Migration | None) -> bool:
    return migration is not None and migration.phase is Phase.READY


def state(office: Office) -> Migration:
    return office.plane().workshop(KB).migration()


def test_a_worker_leaves_the_beginning_to_the_one_that_began(office: Office) -> None:
    ticks: list[Tick] = []
    second = office.worker()
    first = office.worker(on_wait=lambda _: ticks.append(second.tick()) if len(ticks) < 5 else None)

    first.run(is_ready)

    assert ticks == [Tick.IDLE] * 5
    assert state(office).run_status is RunStatus.RUNNING


def test_a_worker_that_slept_through_the_back_fill_does_not_halt_the_migration(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was about to make the target's collection, and finds it full."""
    first, second = office.worker(), office.worker()
    migration = first.workshop.migration()
    store = first.workshop.store_of(migration.target)
    create = store.create

    def late(*arguments: object, **settings: object) -> None:
        monkeypatch.setattr(store, "create", create)
        office.clock.advance(first.workshop.timing.work_lease_s + 1)
        second.run(is_ready)
        create(*arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "create", late)

    first.run(is_ready)

    assert (state(office).phase, state(office).run_status) == (Phase.READY, RunStatus.RUNNING)


def test_two_workers_that_both_see_the_last_piece_published_go_on_together(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second would take a migration that is being verified back to its catch-up, which is an edge there is."""
    first, second = office.worker(), office.worker()
    first.run(lambda migration: migration is not None and migration.phase is Phase.BACKFILL and migration.planned)
    ledger = first.workshop.ledger
    progress = ledger.chunk_progress
    entered: list[Phase] = []

    def overtaken(migration: object) -> tuple[int, int, int]:
        found = progress(migration)  # type: ignore[arg-type]
        if found[1] == found[2] and not entered:
            second.run(lambda known: known is not None and known.phase is Phase.VERIFY)
            entered.append(state(office).phase)
        return found

    monkeypatch.setattr(ledger, "chunk_progress", overtaken)

    first.run(lambda _: bool(entered))

    assert entered == [Phase.VERIFY]
    assert state(office).phase is Phase.VERIFY


def test_nothing_is_carried_over_while_a_migration_is_paused(office: Office) -> None:
    worker, plane = office.worker(), office.plane()
    worker.run(is_ready)
    plane.pause("kb")

    plane.alias("kb").upsert([Document(id="new", text="written during the pause")])
    while_paused = carry_dirty(worker.workshop)
    plane.resume("kb")

    assert while_paused == 0
    assert carry_dirty(worker.workshop) == 1


@pytest.mark.parametrize(
    "models",
    [
        pytest.param({"old": SETTINGS["models"]["old"]}, id="without the model"),  # type: ignore[index]
        pytest.param(
            {**SETTINGS["models"], "new": {"provider": "hashing", "dimensions": 48}},  # type: ignore[dict-item]
            id="with another model of that name",
        ),
    ],
)
def test_a_worker_that_is_not_set_up_for_the_work_stops_alone(
    models: dict[str, object], office: Office, tmp_path: Path
) -> None:
    """One badly configured host must not stop those that are well."""
    config = parse({**SETTINGS, "models": models}, tmp_path / "undrift.toml")
    with ControlPlane(config, clock=office.clock, heartbeat=False) as plane:
        stranger = Worker(workshop=plane.workshop(KB), who="stranger")
        with pytest.raises((UnknownModel, SpaceMismatch)):
            stranger.run(is_ready)

    assert state(office).run_status is RunStatus.RUNNING
    office.worker().run(is_ready)
    assert state(office).phase is Phase.READY
