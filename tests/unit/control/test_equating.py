"""Two models that are one: proved by probes, kept in the ledger, and nothing is embedded again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sqlite_vec")

from undrift import Document
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.control import ControlPlane, open_plane
from undrift.domain.record import Vector, Vectors
from undrift.errors import BadArgument, FieldInUse, ModelChanged
from undrift.quality.equal import Answer, compare
from undrift.testing.provider import EmbeddingProvider

DIMENSIONS = 64
MODEL = """
[models.{name}]
provider = "openai"
name = "{served}"
base_url = "{url}"
dimensions = 64
"""
ALIAS = """
ledger = "sqlite:///undrift.db"

[stores.main]
url = "sqlite-vec:./vectors.db"

[aliases.kb]
store = "main"
model = "{model}"
"""


class Nearly(HashingEmbedder):
    """The same weights in another number format, or with noise of their own."""

    def __init__(self, size: float, *, steady: bool = True) -> None:
        super().__init__(dimensions=DIMENSIONS)
        self._size, self._steady = size, steady
        self._chance = np.random.default_rng(1)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        vectors = super().embed_documents(texts)
        rows = [
            np.random.default_rng(len(text)).normal(size=DIMENSIONS)
            if self._steady
            else self._chance.normal(size=DIMENSIONS)
            for text in texts
        ]
        moved = vectors + np.stack(rows) * np.sqrt(2 * self._size / DIMENSIONS)
        return np.asarray(moved / np.linalg.norm(moved, axis=1)[:, None], dtype=np.float32)

    def embed_query(self, text: str) -> Vector:
        vector: Vector = self.embed_documents([text])[0]
        return vector


@pytest.fixture
def provider() -> Iterator[EmbeddingProvider]:
    served = {name: HashingEmbedder(dimensions=DIMENSIONS) for name in ("toy", "gateway/toy", "other")}
    with EmbeddingProvider(served) as running:
        yield running


def write(folder: Path, provider: EmbeddingProvider, *models: str, alias: str = "a") -> Path:
    served = {"a": "toy", "b": "gateway/toy", "c": "other"}
    tables = [MODEL.format(name=name, served=served[name], url=provider.url) for name in models]
    file = folder / "undrift.toml"
    file.write_text("".join([ALIAS.format(model=alias), *tables]))
    return file


@pytest.fixture
def plane(tmp_path: Path, provider: EmbeddingProvider, monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlPlane]:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with open_plane(write(tmp_path, provider, "a", "b", "c")) as made:
        made.alias("kb").upsert([Document(id=str(number), text=f"page {number} of the log") for number in range(30)])
        yield made


def test_a_model_under_another_name_is_one_with_the_first_and_nothing_is_embedded_again(
    plane: ControlPlane, provider: EmbeddingProvider, tmp_path: Path
) -> None:
    shown = plane.equal("a", "b")

    assert (shown["verdict"], shown["stands_for"]) == ("equal", "b stands for a")
    assert shown["at_most"] < 1e-4
    with pytest.raises(BadArgument, match="already, which is what model b computes"):
        plane.plan("kb", to="b")
    plane.close()
    # The first name is gone: the second one serves what the first one made, and is proved by it.
    provider.retire("toy")
    with open_plane(write(tmp_path, provider, "b", alias="b")) as again:
        hits = again.alias("kb").search("page 7 of the log", k=1)
        again.alias("kb").upsert([Document(id="new", text="something else entirely")])
        spaces = {one["space"] for one in [again.show_model("b")]}
        assert hits[0].id == "7"
        assert again.alias("kb").count() == 31
        assert spaces == {shown["left_space"]}


def test_a_model_that_stands_for_another_is_refused_when_it_changes(
    plane: ControlPlane, provider: EmbeddingProvider, tmp_path: Path
) -> None:
    plane.equal("a", "b")
    space = plane.recorded("a").space.id
    provider.swap("gateway/toy", HashingEmbedder(dimensions=DIMENSIONS, seed="other"))
    plane.close()

    with open_plane(write(tmp_path, provider, "b", alias="b")) as again, pytest.raises(ModelChanged):
        again.door_of(space)


def test_other_weights_are_different_and_nothing_is_kept(plane: ControlPlane, provider: EmbeddingProvider) -> None:
    provider.swap("gateway/toy", Nearly(5e-4))

    shown = plane.equal("a", "b")

    assert (shown["verdict"], shown["stands_for"]) == ("different", None)
    assert "4.7e-04" in shown["reason"]
    assert plane.model_door("b").space.id == shown["right_space"] != shown["left_space"]


def test_another_number_format_that_no_search_can_tell_is_equal(
    plane: ControlPlane, provider: EmbeddingProvider
) -> None:
    provider.swap("gateway/toy", Nearly(2e-5))

    assert plane.equal("a", "b", keep=False)["verdict"] == "equal"
    assert plane.model_door("b").space.id != plane.model_door("a").space.id


def test_noise_that_hides_the_answer_leaves_it_open(plane: ControlPlane, provider: EmbeddingProvider) -> None:
    for name in ("toy", "gateway/toy"):
        provider.swap(name, Nearly(0.04, steady=False))

    shown = plane.equal("a", "b")

    assert (shown["verdict"], shown["stands_for"]) == ("unknown", None)


def test_a_baseline_speaks_for_a_model_that_is_gone(plane: ControlPlane, provider: EmbeddingProvider) -> None:
    plane.record_probes("a")
    provider.retire("toy")

    assert plane.equal("a", "b")["stands_for"] == "b stands for a"


def test_a_model_whose_vectors_are_served_keeps_its_space(plane: ControlPlane) -> None:
    plane.create_alias("kb2", store="main", collection="kb2", model="b")

    assert plane.equal("b", "c")["stands_for"] == "c stands for b"
    both = plane.equal("a", "b")
    assert (both["verdict"], both["stands_for"]) == ("equal", None)


def test_a_proof_can_be_taken_back_unless_nothing_else_is_left(
    plane: ControlPlane, provider: EmbeddingProvider, tmp_path: Path
) -> None:
    shown = plane.equal("a", "b")
    assert plane.unequal("b")["space"] == shown["right_space"]
    assert plane.model_door("b").space.id == shown["right_space"]
    with pytest.raises(BadArgument, match="was not proved equal"):
        plane.unequal("b")
    plane.equal("a", "b")
    plane.close()

    with (
        open_plane(write(tmp_path, provider, "b", alias="b")) as again,
        pytest.raises(FieldInUse, match="the only one"),
    ):
        again.unequal("b")


def test_what_decides_what_is_sent_is_not_measured_away(plane: ControlPlane, tmp_path: Path) -> None:
    text = (tmp_path / "undrift.toml").read_text()
    (tmp_path / "undrift.toml").write_text(text + '[models.d]\nprovider = "hashing"\ndimensions = 32\n')
    with open_plane(tmp_path / "undrift.toml") as again:
        shown = again.equal("a", "d")
        assert (shown["verdict"], shown["reason"]) == ("different", "dimensions: 64, not 32")
        with pytest.raises(BadArgument, match="equal to itself"):
            again.equal("a", "a")


def test_one_text_that_differs_is_enough_for_no_proof() -> None:
    chance = np.random.default_rng(0)
    vectors = chance.standard_normal((40, 64))
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    left = np.repeat(vectors[None], 4, axis=0).astype(np.float32)
    right = left.copy()
    right[:, 3] = vectors[4]

    assert compare(left, left).answer is Answer.EQUAL
    assert compare(left, right).answer is Answer.DIFFERENT
    assert compare(left, left * np.float32(1.1)).answer is Answer.DIFFERENT
    assert compare(left, left[:, :, :32]).answer is Answer.DIFFERENT
