"""A linear head behind another model: a model like any other, and none where its base is another."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.adapters.embedders.head import HeadEmbedder, save_head
from undrift.config import load
from undrift.control import ControlPlane
from undrift.errors import BadArgument, BadConfig, SpaceMismatch
from undrift.ports.embedder import Embedder
from undrift.testing.embedders import EmbedderConformance

MATRIX = np.random.default_rng(0).normal(size=(24, 64)).astype(np.float32)


class TestHead(EmbedderConformance):
    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _saved(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        cls.folder = tmp_path_factory.mktemp("head")
        save_head(cls.folder, MATRIX, HashingEmbedder(dimensions=64).space)

    def make_embedder(self) -> Embedder:
        return HeadEmbedder(path=str(self.folder), base=HashingEmbedder(dimensions=64))


def made(folder: Path, matrix: np.ndarray = MATRIX, *, normalized: bool = True) -> HeadEmbedder:
    base = HashingEmbedder(dimensions=64)
    save_head(folder, matrix, base.space, normalized=normalized)
    return HeadEmbedder(path=str(folder), base=base)


def test_every_vector_is_that_of_the_base_times_the_matrix(tmp_path: Path) -> None:
    base, texts = HashingEmbedder(dimensions=64), ["one text", "and another one"]
    raw = base.embed_documents(texts) @ MATRIX.T

    head, plain = made(tmp_path / "a"), made(tmp_path / "b", normalized=False)

    assert head.embed_documents(texts) == pytest.approx(raw / np.linalg.norm(raw, axis=1, keepdims=True), abs=1e-6)
    assert plain.embed_documents(texts) == pytest.approx(raw, abs=1e-6)
    assert head.embed_query(texts[0]) == pytest.approx(head.embed_documents(texts)[0], abs=1e-6)
    assert (head.space.dimensions, head.space.channel, head.space.normalized) == (24, "head", True)


def test_its_revision_is_the_hash_of_its_weights_wherever_they_lie(tmp_path: Path) -> None:
    first, copy = made(tmp_path / "a" / "head"), made(tmp_path / "b" / "head")
    retrained = made(tmp_path / "c" / "head", MATRIX * np.float32(1.001))
    longer = made(tmp_path / "d" / "head", normalized=False)
    assert first.space == copy.space
    assert first.space.revision.startswith("sha256-")
    assert len({first.space.revision, retrained.space.revision, longer.space.revision}) == 3


def test_a_head_is_never_put_behind_another_base(tmp_path: Path) -> None:
    made(tmp_path)
    with pytest.raises(SpaceMismatch, match="was trained behind space") as caught:
        HeadEmbedder(path=str(tmp_path), base=HashingEmbedder(dimensions=64, seed="another"))
    assert "revision" in caught.value.detail


def test_a_checkpoint_is_not_written_over(tmp_path: Path) -> None:
    made(tmp_path)
    with pytest.raises(BadArgument, match="has a head already"):
        made(tmp_path, MATRIX * np.float32(2))


@pytest.mark.parametrize(
    "matrix", [np.ones((3, 63)), np.ones(64), np.full((64, 64), np.nan), np.empty((0, 64))], ids=lambda one: one.shape
)
def test_what_is_no_head_for_a_base_is_not_saved(tmp_path: Path, matrix: np.ndarray) -> None:
    with pytest.raises(BadArgument):
        save_head(tmp_path, matrix, HashingEmbedder(dimensions=64).space)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("head.json", b"", "cannot be read"),
        ("head.json", b"{}", "is not the folder of a head"),
        ("head.json", b'{"format": 9, "normalized": true, "base": {}}', "does not say which model"),
        ("head.json", b'{"format": 1}', "does not say which model"),
        ("head.npy", b"not an array", "cannot be read"),
        ("head.npy", b"", "cannot be read"),
    ],
)
def test_a_damaged_head_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    made(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadArgument, match=message):
        HeadEmbedder(path=str(tmp_path), base=HashingEmbedder(dimensions=64))


def test_weights_that_need_code_to_be_read_are_refused(tmp_path: Path) -> None:
    made(tmp_path)
    np.save(tmp_path / "head.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(BadArgument, match="cannot be read"):
        HeadEmbedder(path=str(tmp_path), base=HashingEmbedder(dimensions=64))


def test_weights_of_another_shape_than_the_base_are_named(tmp_path: Path) -> None:
    base = HashingEmbedder(dimensions=64)
    made(tmp_path)
    np.save(tmp_path / "head.npy", MATRIX[:, :60])
    with pytest.raises(BadArgument, match="takes vectors of 60 dimensions"):
        HeadEmbedder(path=str(tmp_path), base=base)


def test_the_space_of_the_base_is_kept_whole_in_the_folder(tmp_path: Path) -> None:
    made(tmp_path)
    assert json.loads((tmp_path / "head.json").read_text())["base"] == HashingEmbedder(dimensions=64).space.as_dict()


@pytest.mark.parametrize(("base", "state"), [("nobody", "not configured"), ("second", "a head itself")])
def test_a_base_has_to_be_a_configured_model(tmp_path: Path, base: str, state: str) -> None:
    made(tmp_path / "head")
    (tmp_path / "undrift.toml").write_text(
        '[models.old]\nprovider = "hashing"\ndimensions = 64\n\n'
        f'[models.first]\nprovider = "head"\npath = "head"\nbase = "{base}"\n\n'
        '[models.second]\nprovider = "head"\npath = "head"\nbase = "old"\n'
    )
    with ControlPlane(load(tmp_path / "undrift.toml")) as plane:
        assert plane.model_door("second").space == replace(made(tmp_path / "another").space, model="head")
        with pytest.raises(BadConfig, match=state):
            plane.model_door("first")
