"""A process is said to be gone only when that is certain."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from undrift.adapters.processes import LinuxProcesses

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells by /proc")

SHOW = "from undrift.adapters.processes import LinuxProcesses as P; print(P().me(), flush=True); input()"


def test_this_process_is_not_gone() -> None:
    assert not LinuxProcesses().is_gone(LinuxProcesses().me())


@pytest.mark.parametrize("name", ["", "nonsense", "pid:[1]:12:34", ":1:1", "::"])
def test_what_cannot_be_known_is_not_taken_for_gone(name: str) -> None:
    assert not LinuxProcesses().is_gone(name)


def test_a_killed_process_is_gone_even_before_its_parent_buries_it() -> None:
    """A zombie runs nothing any more, so nothing of it can land."""
    child = subprocess.Popen([sys.executable, "-c", SHOW], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout is not None
        name = child.stdout.readline().strip()
        assert not LinuxProcesses().is_gone(name)
        os.kill(child.pid, signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert LinuxProcesses().is_gone(name)
        child.wait()
        assert LinuxProcesses().is_gone(name)


def test_a_process_that_got_the_id_of_a_dead_one_is_another() -> None:
    namespace, pid, started = LinuxProcesses().me().rsplit(":", 2)
    assert LinuxProcesses().is_gone(f"{namespace}:{pid}:{int(started) - 1}")
