"""What every test may rely on: reproducible Hypothesis runs, and the way to the shared data sets."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The published kits are test code as well: their failures should explain themselves.
pytest.register_assert_rewrite("undrift.testing")

ROOT = Path(__file__).resolve().parents[1]
#: What continuous integration draws its examples from; any other seed: --hypothesis-seed=NUMBER.
CI_SEED = 20261122
IN_CI = bool(os.environ.get("CI"))

# No deadline, and no check of how long drawing takes: a busy machine is not a bug.
settings.register_profile("dev", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("dev"), derandomize=False, database=None)
settings.load_profile("ci" if IN_CI else "dev")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    # A shell starts what runs in its background with Ctrl-C ignored; commands under test would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Before Hypothesis reads it. At a developer's desk every run draws anew and failures are kept in .hypothesis.
    if IN_CI and config.getoption("hypothesis_seed", None) is None:
        config.option.hypothesis_seed = CI_SEED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    seed = terminalreporter.config.getoption("hypothesis_seed", None)
    terminalreporter.write_line(f"hypothesis seed: {'a new one for each test' if seed is None else seed}")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of the data sets beside the project, which are not a part of it."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the shared data sets are not beside this checkout")
    return folder
