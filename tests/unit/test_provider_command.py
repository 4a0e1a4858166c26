from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from undrift.errors import UnknownModel
from undrift.testing.provider.__main__ import main


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    (tmp_path / "key").write_text("secret\n", encoding="utf-8")
    words = ["toy=hashing:16", "other=hashing", "--port", "0", "--retire", "toy=2", "--requests-per-min", "600"]
    running = subprocess.Popen(
        [sys.executable, "-m", "undrift.testing.provider", *words, "--api-key-file", str(tmp_path / "key")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": ""},
    )
    assert running.stdout is not None
    said = running.stdout.readline()
    yield running, said
    running.kill()
    running.wait()
    running.stdout.close()


def test_a_person_can_run_it(served: tuple[subprocess.Popen[str], str]) -> None:
    running, said = served
    url = said.split()[-1]
    assert said == f"serving toy, other at {url}\n"

    answers = [
        httpx2.post(
            f"{url}/embeddings",
            json={"model": "toy", "input": ["the ferry"]},
            headers={"Authorization": "Bearer secret"},
        )
        for _ in range(3)
    ]
    running.send_signal(signal.SIGINT)
    running.wait()

    assert [answer.status_code for answer in answers] == [200, 200, 404]
    assert len(answers[0].json()["data"][0]["embedding"]) == 16
    assert answers[0].headers["x-ratelimit-limit-requests"] == "600"
    assert running.stdout is not None
    assert running.stdout.read() == "3 requests\n"
    assert running.returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["toy"], "'toy' is no model"),
        (["toy=gpt"], "is no model"),
        (["toy=hashing", "--retire", "toy"], "is not NAME=ANSWERS"),
    ],
)
def test_words_that_mean_nothing_are_named(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert said in capsys.readouterr().err


def test_a_model_that_is_not_served_cannot_be_retired() -> None:
    with pytest.raises(UnknownModel, match="no model 'none' here") as caught:
        main(["toy=hashing", "--port", "0", "--retire", "none=3"])
    assert caught.value.detail == "there are toy"
