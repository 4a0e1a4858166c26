"""Working on every alias at once: what it survives, and when it ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.running import Undrift, plane_of
from undrift.control import ControlPlane
from undrift.domain.migration import Phase, RunStatus
from undrift.domain.route import AliasName
from undrift.errors import ControlUnavailable, StoreRejected, UndriftError, UnknownAlias
from undrift.migrate.engine import Worker

KB = AliasName("kb")


def failing_once(method: Callable[..., object], error: BaseException) -> Callable[..., object]:
    failures = [error]

    def fail(*args: object, **options: object) -> object:
        if failures:
            raise failures.pop()
        return method(*args, **options)

    return fail


def phase_of(plane: ControlPlane) -> Phase:
    state = plane.ledger.alias(KB)
    assert state is not None
    assert state.migration is not None
    return state.migration.phase


@pytest.fixture
def registered(filled: Undrift, tmp_path: Path) -> Path:
    assert filled("start", "kb", "--to", "new", "--detach").code == 0
    return tmp_path


def test_a_ledger_that_does_not_answer_for_a_moment_is_waited_for(
    registered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[tuple[str, str]] = []
    with plane_of(registered) as plane:
        monkeypatch.setattr(
            plane.ledger, "aliases", failing_once(plane.ledger.aliases, ControlUnavailable("the ledger is busy"))
        )
        plane.work_all(until=lambda: False, until_idle=True, on_wait=lambda *wait: waits.append(wait))

        assert phase_of(plane) is Phase.READY
    assert ("", "the ledger is busy") in waits


def test_a_worker_whose_ledger_failed_under_it_begins_again(registered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[tuple[str, str]] = []
    with plane_of(registered) as plane:
        monkeypatch.setattr(plane, "work", failing_once(plane.work, ControlUnavailable("the ledger is busy")))
        plane.work_all(until=lambda: False, until_idle=True, on_wait=lambda *wait: waits.append(wait))

        assert phase_of(plane) is Phase.READY
    assert ("kb", "the ledger is busy") in waits


def test_an_error_that_needs_a_person_is_told_once_and_the_others_are_worked_on(
    filled: Undrift, registered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled("alias", "create", "more", "--store", "main", "--model", "old")
    filled("put", "more", "documents.jsonl")
    filled("start", "more", "--to", "new", "--detach")
    told: list[tuple[str, str]] = []
    tick = Worker.tick

    def refuse(self: Worker) -> object:
        if self.workshop.alias == KB:
            raise UnknownAlias("something only a person can mend")
        return tick(self)

    monkeypatch.setattr(Worker, "tick", refuse)
    with plane_of(registered) as plane:
        with pytest.raises(UnknownAlias, match="only a person"):
            plane.work_all(
                until=lambda: False, until_idle=True, on_error=lambda alias, error: told.append((alias, error.message))
            )

        assert told == [("kb", "something only a person can mend")]
        assert plane.glance("kb")["run_status"] == "halted"
        assert plane.glance("more")["phase"] == "ready"


def test_an_error_that_could_not_be_recorded_is_not_run_into_again_at_once(
    registered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The migration still runs for all the ledger knows; this process leaves it alone for a while."""
    begun: list[str] = []

    def refuse(name: str, *_args: object, **_options: object) -> None:
        begun.append(name)
        raise UnknownAlias("something only a person can mend")

    rounds = iter(range(5))
    with plane_of(registered) as plane:
        monkeypatch.setattr(plane, "work", refuse)
        monkeypatch.setattr(plane.clock, "sleep", lambda _seconds: None)
        plane.work_all(until=lambda: next(rounds, None) is None)

    assert begun == ["kb"]


def test_a_halted_migration_is_left_alone_until_it_is_resumed(registered: Path) -> None:
    with plane_of(registered) as plane:
        plane.ledger.save_run_status(plane.workshop(KB).migration().id, RunStatus.HALTED, reason="no", who="test")
        plane.work_all(until=lambda: False, until_idle=True)
        assert phase_of(plane) is Phase.REGISTERED

        plane.resume("kb")
        plane.work_all(until=lambda: False, until_idle=True)
        assert phase_of(plane) is Phase.READY


def test_dirty_documents_are_carried_over_before_it_is_idle(ready: Undrift, tmp_path: Path) -> None:
    ready("put", "kb", "-", stdin=b'{"id": "later", "text": "written when all was ready"}\n')
    with plane_of(tmp_path) as plane:
        assert plane.glance("kb")["dirty"] == 1
        plane.work_all(until=lambda: False, until_idle=True)

        assert plane.glance("kb")["dirty"] == 0


def test_it_ends_when_it_is_told_to(registered: Path) -> None:
    looks = iter([False, False, True])
    with plane_of(registered) as plane:
        plane.work_all(until=lambda: next(looks, True))


def test_an_interrupt_is_not_swallowed(registered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    with plane_of(registered) as plane:
        monkeypatch.setattr(plane, "work", lambda *_args, **_options: None)
        monkeypatch.setattr(plane.clock, "sleep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            plane.work_all(until=lambda: False)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (
            str(StoreRejected("no", "one\ntwo", "undrift tune kb x=1, then undrift resume kb")),
            ("no", "one\ntwo", "undrift tune kb x=1, then undrift resume kb"),
        ),
        (str(StoreRejected("no", hint="pip install x")), ("no", "", "pip install x, then undrift resume kb")),
        (str(StoreRejected("no")), ("no", "", "undrift resume kb")),
    ],
    ids=["whole", "without-detail", "message-only"],
)
def test_what_halted_a_migration_is_told_as_it_was(
    registered: Path, reason: str, expected: tuple[str, str, str]
) -> None:
    from undrift.control.status import halted

    with plane_of(registered) as plane:
        id = plane.workshop(KB).migration().id
        plane.ledger.save_run_status(id, RunStatus.HALTED, reason=reason.replace("\n", " · "), who="test")
        told: UndriftError = halted(plane.workshop(KB).migration())

    assert told.message == f"the migration of kb is halted: {expected[0]}"
    assert (told.detail, told.hint) == expected[1:]
