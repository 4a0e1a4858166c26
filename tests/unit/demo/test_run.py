from __future__ import annotations

import sys
from pathlib import Path

import pytest

from undrift.demo.run import run_demo
from undrift.errors import BadArgument, BadDocument, BadInputLine, MissingExtra, UndriftError


def refused(kind: type[UndriftError], *, corpus: Path | None = None, keep: Path | None = None) -> UndriftError:
    """Run a demo that must end before it begins, and return why."""
    told: list[object] = []
    with pytest.raises(kind) as error:
        run_demo(corpus=corpus, keep=keep, report=told.append, progress=lambda *progress: told.append(progress))
    assert told == []
    return error.value


@pytest.mark.parametrize(
    ("package", "extra"), [("sqlite_vec", "embedded"), ("wordllama", "embedded"), ("pytrec_eval", "golden")]
)
def test_a_missing_extra_is_told_before_anything_begins(
    package: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)

    error = refused(MissingExtra, keep=tmp_path / "kept")

    assert f"pip install 'undrift[{extra}]'" in error.hint
    assert not (tmp_path / "kept").exists()


def test_a_folder_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")

    error = refused(BadArgument, keep=tmp_path)

    assert error.message == f"folder {tmp_path} has files in it"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert "cannot be used" in refused(BadArgument, keep=tmp_path / "file" / "folder").message


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        ('{"id": "1", "text": "fine"}\n{"id": "2", "te', BadInputLine, "line 2"),
        ('{"id": "1", "text": "fine"}\n{"id": "1", "text": "again"}\n', BadDocument, "line 2"),
        ("\n", BadArgument, "has no documents to migrate"),
    ],
)
def test_a_corpus_that_cannot_be_used_is_told_before_anything_begins(
    tmp_path: Path, content: str, kind: type[UndriftError], message: str
) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(content)

    error = refused(kind, corpus=corpus, keep=tmp_path / "kept")

    assert message in error.message
    assert not (tmp_path / "kept").exists()


def test_a_corpus_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert "cannot be opened" in refused(BadArgument, corpus=tmp_path / "nothing.jsonl").message
