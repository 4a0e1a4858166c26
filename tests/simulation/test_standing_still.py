"""A simulation that cannot go on says where it stands, instead of waiting for ever."""

from __future__ import annotations

import threading

import pytest

from undrift.testing.simulation import Hands, scheduler
from undrift.testing.simulation.scheduler import START, Life, Scheduler


def test_a_task_that_waits_with_a_lock_for_which_another_waits_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "STANDS_STILL_S", 0.2)
    stage, lock = Scheduler(Hands()), threading.Lock()

    def hold() -> None:
        with lock:
            stage.sleep(1.0)

    def want() -> None:
        with lock:
            pass

    stage.spawn(Life(name="holder"), hold)
    stage.spawn(Life(name="other"), want)

    with pytest.raises(RuntimeError, match="stands still at 1000 s") as stopped:
        stage.run(START + 10)

    assert "holder:" in str(stopped.value)
    assert "in want" in str(stopped.value)
    lock.release()
