"""What is told of a checkpoint before it is configured: who can run it, and the fingerprint of its data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from undrift.adapters.checkpoints import fingerprint, from_folder
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.adapters.embedders.head import save_head
from undrift.errors import BadArgument


@pytest.mark.parametrize(
    ("files", "provider"),
    [
        (["modules.json"], "sentence_transformers"),
        (["modules.json", "onnx/model.onnx"], "sentence_transformers"),
        (["onnx/model.onnx", "tokenizer.json"], "onnx"),
        (["model.onnx"], "onnx"),
    ],
)
def test_the_files_of_a_folder_say_who_can_run_it(tmp_path: Path, files: list[str], provider: str) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    found = from_folder(tmp_path, "models/tuned")
    assert (found.provider, found.folder, found.text, found.head_of) == (provider, tmp_path, "models/tuned", None)


def test_a_head_says_behind_which_space_it_stands(tmp_path: Path) -> None:
    base = HashingEmbedder(dimensions=8).space
    save_head(tmp_path, np.eye(8), base)
    assert from_folder(tmp_path, "head").head_of == base


@pytest.mark.parametrize("text", ["", "[]", '{"base": {"channel": "x"}}', '{"base": 7}'])
def test_a_head_that_does_not_say_it_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "head.json").write_text(text)
    with pytest.raises(BadArgument):
        from_folder(tmp_path, "head")


def test_a_fingerprint_is_of_names_and_contents_wherever_they_lie_and_in_any_order(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder / "deep").mkdir(parents=True)
        (tmp_path / folder / "a.jsonl").write_text("a")
        (tmp_path / folder / "deep" / "b.jsonl").write_text("b")
    one, two = tmp_path / "one", tmp_path / "two"
    whole = fingerprint([one])
    assert whole == fingerprint([two])
    assert whole.startswith("sha256-")
    assert fingerprint([one / "a.jsonl", one / "deep"]) == fingerprint([two / "deep", two / "a.jsonl"])
    (two / "deep" / "b.jsonl").write_text("c")
    (one / "a.jsonl").rename(one / "renamed.jsonl")
    assert len({whole, fingerprint([one]), fingerprint([two])}) == 3


def test_a_fingerprint_that_was_made_elsewhere_is_kept_and_nothing_has_none(tmp_path: Path) -> None:
    assert fingerprint(["sha256-" + "0a" * 16]) == "sha256-" + "0a" * 16
    assert fingerprint([]) == ""
    with pytest.raises(BadArgument, match="cannot be read"):
        fingerprint([tmp_path / "nothing"])
