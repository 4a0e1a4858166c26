"""The look-out says that a fine-tuned model is due to be trained again."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from tests.unit.control.trained import head, world
from undrift.control import ControlPlane
from undrift.control.ancestry import Training
from undrift.control.trainings import look_at_trainings
from undrift.domain.finding import Finding, Severity, State
from undrift.domain.migration import Phase
from undrift.testing.clock import VirtualClock

pytest.importorskip("sqlite_vec")
pytest.importorskip("pytrec_eval")


def tell(plane: ControlPlane, check: str, state: State = State.BAD) -> None:
    """Leave a finding where the look-out leaves those of a check."""
    found = Finding(
        check=check, subject="kb", state=state, severity=Severity.WARNING, moment=plane.clock.now(), words=f"{check}!"
    )
    key = f"watch/found/{check}"
    memo = plane.ledger.recall(key)
    text = json.dumps([found.as_dict()])
    assert plane.ledger.remember(key, text, version=memo.version if memo is not None else 0)


def test_data_that_moves_for_days_makes_a_training_due_and_a_new_checkpoint_ends_it(tmp_path: Path) -> None:
    clock = VirtualClock()
    with world(tmp_path, clock) as plane:
        tell(plane, "queries")
        assert list(look_at_trainings(plane)) == [], "a public model is not trained by its user"

        serve(plane, tmp_path, "tuned", 5.0)
        seen = []
        for _ in range(22):
            clock.advance(timedelta(days=1).total_seconds())
            tell(plane, "queries")
            (finding,) = look_at_trainings(plane)
            seen.append(finding.state)
        # It had two weeks to show itself, and the queries had moved for longer than three days then.
        assert seen == [State.GOOD] * 13 + [State.BAD] * 9
        assert (finding.key, finding.detail) == ("retrain/kb", "queries!")

        serve(plane, tmp_path, "again", 6.0)
        (finding,) = look_at_trainings(plane)
        assert finding.state is State.GOOD
        assert "trained 0 days ago" in finding.words


def serve(plane: ControlPlane, folder: Path, name: str, strength: float) -> None:
    plane.register_model(name, str(head(plane, folder, name, strength)), Training())
    plane.register("kb", name)
    plane.work("kb", lambda migration: migration is not None and migration.phase is Phase.READY)
    plane.cutover("kb")
    plane.complete("kb")
