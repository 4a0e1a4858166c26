"""The command in this very process: fast, and with everything it says in hand."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from tests.unit.cli.running import CONFIG, Outcome, Terminal, Undrift, write_lines
from undrift.cli.main import main


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Undrift:
    """Run a verb in a folder of its own; `stdin` is what is piped in, `typed` what a person answers at a terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UNDRIFT_CONFIG", raising=False)

    def run(*words: str, stdin: bytes = b"", typed: str | None = None) -> Outcome:
        source = io.TextIOWrapper(io.BytesIO(stdin)) if typed is None else Terminal(typed)
        capsysbinary.readouterr()
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stdin", source)
            with pytest.raises(SystemExit) as ended:
                main(words)
        said = capsysbinary.readouterr()
        assert isinstance(ended.value.code, int)
        return Outcome(code=ended.value.code, out=said.out.decode(), err=said.err.decode())

    return run


@pytest.fixture
def undrift(run: Undrift, tmp_path: Path) -> Undrift:
    """The same with a configuration of two models."""
    pytest.importorskip("sqlite_vec")
    (tmp_path / "undrift.toml").write_text(CONFIG)
    return run


@pytest.fixture
def filled(undrift: Undrift, tmp_path: Path) -> Undrift:
    """The same with 300 documents, so that the back-fill has two pieces."""
    documents = [
        {
            "id": f"d{number:03}",
            "text": f"document {number} about {topic}",
            "metadata": {"topic": topic, "number": number},
        }
        for number in range(300)
        for topic in [("cats", "dogs", "ships")[number % 3]]
    ]
    write_lines(tmp_path / "documents.jsonl", documents)
    assert undrift("put", "kb", "documents.jsonl").code == 0
    return undrift


@pytest.fixture
def ready(filled: Undrift) -> Undrift:
    """The same with a migration that is ready to cut over."""
    assert filled("start", "kb", "--to", "new").code == 0
    return filled
