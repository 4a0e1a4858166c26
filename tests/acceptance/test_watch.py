"""`undrift watch` as a service: it answers for its health, and ends when it is asked to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import undrift
from tests.unit.cli.running import CONFIG, plane_of

pytestmark = pytest.mark.acceptance


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A look-out, and what it said when it began."""
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    pytest.importorskip("sqlite_vec")
    (tmp_path / "undrift.toml").write_text(CONFIG)
    own = {name: value for name, value in os.environ.items() if not name.startswith("UNDRIFT_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "undrift", "watch", "--health", "127.0.0.1:0", "--json"],
        cwd=tmp_path,
        env={**own, "PYTHONPATH": str(Path(undrift.__file__).parents[1])},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if line.rstrip() == "}":
                break
        yield process, json.loads(said)
    finally:
        process.kill()
        process.communicate()


def read(url: str) -> tuple[int, str]:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.status, answer.read().decode()


def test_a_look_out_answers_for_its_health_and_ends_cleanly_by_sigterm(
    watching: tuple[subprocess.Popen[str], dict[str, Any]], tmp_path: Path
) -> None:
    process, said = watching
    health, figures = read(f"{said['url']}/healthz"), read(f"{said['url']}/metrics")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)

    assert "sunset" in said["checks"]
    assert health[0] == 200
    assert json.loads(health[1])["status"] == "ok"
    assert "undrift_build_info" in figures[1]
    assert process.returncode == 0
    assert "Traceback" not in err
    with plane_of(tmp_path) as plane:
        looks = plane.schedule.looks("sunset", plane.clock.now())
        assert looks.owner == ""
