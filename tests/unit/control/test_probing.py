"""Probes through the control plane: baselines are kept, a swap stops the workers at once, and it goes on afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sqlite_vec")

from undrift import Document
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.control import ControlPlane, open_plane
from undrift.domain.finding import Severity, State
from undrift.domain.migration import Phase
from undrift.domain.record import DocumentId, Vector, Vectors
from undrift.domain.route import AliasName
from undrift.domain.tuning import PIECE
from undrift.errors import AlreadyExists, BadArgument, ModelChanged
from undrift.testing.provider import EmbeddingProvider

DIMENSIONS = 64
CONFIG = """
ledger = "sqlite:///undrift.db"

[stores.main]
url = "sqlite-vec:./vectors.db"

[models.old]
provider = "hashing"
dimensions = 32

[models.new]
provider = "openai"
name = "toy"
base_url = "{url}"
dimensions = 64
batch_size = 8

[aliases.kb]
store = "main"
model = "old"
"""


class Prefixed(HashingEmbedder):
    """The same model, with something put in front of each text."""

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        return super().embed_documents([f"query: {text}" for text in texts])

    def embed_query(self, text: str) -> Vector:
        vector: Vector = self.embed_documents([text])[0]
        return vector


class Cut(HashingEmbedder):
    """The same model, which cuts long texts."""

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        return super().embed_documents([" ".join(text.split()[:100]) for text in texts])


class Noisy(HashingEmbedder):
    """The same model, and no two answers alike."""

    _chance = np.random.default_rng(1)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        vectors = super().embed_documents(texts) + self._chance.normal(0, 0.03, (len(texts), DIMENSIONS))
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1)[:, None], dtype=np.float32)

    def embed_query(self, text: str) -> Vector:
        vector: Vector = self.embed_documents([text])[0]
        return vector


@pytest.fixture
def provider() -> Iterator[EmbeddingProvider]:
    with EmbeddingProvider({"toy": HashingEmbedder(dimensions=DIMENSIONS)}) as running:
        yield running


@pytest.fixture
def plane(tmp_path: Path, provider: EmbeddingProvider, monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlPlane]:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    (tmp_path / "undrift.toml").write_text(CONFIG.format(url=provider.url))
    made = open_plane(tmp_path / "undrift.toml")
    yield made
    made.close()


def test_a_swap_is_found_named_and_kept(plane: ControlPlane, provider: EmbeddingProvider) -> None:
    assert plane.probe_lists() == []
    plane.record_probes("new")
    (before,) = plane.run_probes()
    provider.swap("toy", Prefixed(dimensions=DIMENSIONS))
    (finding,) = plane.probe_findings()
    (listed,) = plane.probe_lists()

    assert before["verdict"] == "unchanged"
    assert {"model", "probes", "statistic", "threshold", "verdict", "noise_floor", "cosine"} <= before.keys()
    assert (finding.state, finding.severity, finding.subject) == (State.BAD, Severity.CRITICAL, "new")
    assert "'query:' in front of each text" in finding.words
    assert listed["verdict"] == "changed"


def test_the_look_out_tells_of_a_swap_and_that_it_is_over(plane: ControlPlane, provider: EmbeddingProvider) -> None:
    """A look confirms itself, so one round is enough; two good ones end it."""
    plane.record_probes("new")
    assert plane.look_out().round(["probe"], anyway=True).tellings == []
    provider.swap("toy", Prefixed(dimensions=DIMENSIONS))
    (told,) = plane.look_out().round(["probe"], anyway=True).tellings
    provider.swap("toy", HashingEmbedder(dimensions=DIMENSIONS))
    again = [one for _ in range(2) for one in plane.look_out().round(["probe"], anyway=True).tellings]

    assert told["event"] == "firing"
    assert "probe/new" in str(told)
    assert "query:" in str(told)
    assert [one["event"] for one in again] == ["resolved"]


def test_a_model_that_does_not_answer_is_not_known(plane: ControlPlane, provider: EmbeddingProvider) -> None:
    plane.record_probes("new")
    provider.retire("toy")

    (finding,) = plane.probe_findings()

    assert finding.state is State.UNKNOWN
    assert plane.run_probes(["new"])[0]["verdict"] == "unknown"


def test_a_model_that_cannot_be_set_up_keeps_no_other_one_from_being_looked_at(
    plane: ControlPlane, tmp_path: Path
) -> None:
    """One whose settings were changed has no baseline any more, and is said to have none."""
    for model in ("new", "old"):
        plane.record_probes(model)
    config = tmp_path / "undrift.toml"
    config.write_text(config.read_text().replace("dimensions = 32", "dimensions = 48"))
    with open_plane(config) as other:
        found = {finding.subject: finding for finding in other.probe_findings()}

    assert found["new"].state is State.GOOD
    assert found["old"].state is State.UNKNOWN
    assert found["old"].hint == "undrift probe record old"


def test_what_is_accepted_as_the_baseline_is_no_alert_any_more(
    plane: ControlPlane, provider: EmbeddingProvider
) -> None:
    plane.record_probes("new")
    provider.swap("toy", Prefixed(dimensions=DIMENSIONS))
    plane.look_out().round(["probe"], anyway=True)
    plane.record_probes("new", accept=True)

    assert [one["event"] for one in plane.tell()["tellings"]] == ["resolved"]


def test_a_baseline_gives_way_only_when_that_is_said(plane: ControlPlane, provider: EmbeddingProvider) -> None:
    plane.record_probes("new")
    with pytest.raises(AlreadyExists, match="a baseline already, number 1"):
        plane.record_probes("new")
    provider.swap("toy", Prefixed(dimensions=DIMENSIONS))

    accepted = plane.record_probes("new", accept=True)

    assert accepted["baseline"] == 2
    assert plane.run_probes(["new"])[0]["verdict"] == "unchanged"


def test_a_change_is_not_accepted_where_old_vectors_are_served(
    plane: ControlPlane, provider: EmbeddingProvider
) -> None:
    """New vectors would stand among old ones that they cannot be compared with."""
    plane.create_alias("live", store="main", collection="live", model="new")
    plane.record_probes("new")
    provider.swap("toy", Prefixed(dimensions=DIMENSIONS))

    with pytest.raises(ModelChanged, match="cannot be accepted: it serves live"):
        plane.record_probes("new", accept=True)

    assert plane.run_probes(["new"])[0]["verdict"] == "changed"


def test_a_change_before_the_first_baseline_does_not_become_the_truth(
    plane: ControlPlane, provider: EmbeddingProvider
) -> None:
    plane.show_model("new")
    provider.swap("toy", Prefixed(dimensions=DIMENSIONS))

    with pytest.raises(ModelChanged, match="no longer gives the vectors"):
        plane.record_probes("new")


def test_a_provider_that_never_says_the_same_twice_works_with_a_baseline(
    plane: ControlPlane, provider: EmbeddingProvider
) -> None:
    provider.swap("toy", Noisy(dimensions=DIMENSIONS))
    space = plane.recorded("new").space.id
    with pytest.raises(ModelChanged):
        plane.door_of(space)

    recorded = plane.record_probes("new", repeats=6)

    assert recorded["noise_floor"] > 0.01
    assert plane.door_of(space).space.id == space


def test_texts_of_ones_own_are_probes_too(plane: ControlPlane, tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("our own text\n\nand another one\n")
    (tmp_path / "own.jsonl").write_text('{"id": "1", "text": "a third"}\n')
    (tmp_path / "bad.jsonl").write_text('{"id": "1"}\n')
    plane.create_alias("kb2", store="main", collection="kb2", model="old")
    plane.alias("kb2").upsert([Document(id=str(number), text=f"document {number}") for number in range(40)])

    assert plane.record_probes("new", texts=tmp_path / "own.txt")["strata"]["own"] == 2
    assert plane.record_probes("new", texts=tmp_path / "own.jsonl", accept=True)["strata"]["own"] == 1
    assert plane.record_probes("new", alias="kb2", drawn=5, accept=True)["strata"]["own"] == 5
    with pytest.raises(BadArgument, match="no text in line 1"):
        plane.record_probes("new", texts=tmp_path / "bad.jsonl", accept=True)
    with pytest.raises(BadArgument, match="has no baseline"):
        plane.run_probes(["old"])


def test_a_swap_stops_the_backfill_within_one_batch_and_it_goes_on_when_it_is_undone(
    plane: ControlPlane, provider: EmbeddingProvider, tmp_path: Path
) -> None:
    """The proof itself is due again only after minutes; one probe a batch finds a swap before that."""
    plane.alias("kb").upsert([Document(id=f"{number:04}", text=f"page {number} of the log") for number in range(3000)])
    plane.record_probes("new")
    plane.register("kb", "new")
    provider.swap("toy", Prefixed(dimensions=DIMENSIONS), after=150)

    with pytest.raises(ModelChanged, match="no longer gives the vectors") as caught:
        work(plane)

    assert "'query:' in front of each text" in caught.value.detail
    truth = HashingEmbedder(dimensions=DIMENSIONS)
    field = plane.router.join(AliasName("kb")).follower
    assert field is not None
    store = plane.store_of(field)
    written = store.fetch(field, [DocumentId(id) for id in store.ids(field, limit=3000)]).values()
    wrong = [one.id for one in written if one.vector @ truth.embed_query(one.text) < 0.99]
    assert 0 < len(written) < 3000
    # What was under way when it happened; the next piece was not begun.
    assert len(wrong) <= PIECE

    provider.swap("toy", truth)
    with open_plane(tmp_path / "undrift.toml", role="worker") as again:
        again.resume("kb")
        again.work(
            "kb", lambda migration: migration is None or again.status("kb")["progress"]["done"] >= 3000, sample=0
        )
        assert again.status("kb")["progress"]["done"] == 3000


def test_a_worker_that_runs_takes_over_the_baseline_that_somebody_else_accepts(
    tmp_path: Path, provider: EmbeddingProvider, plane: ControlPlane
) -> None:
    """It reads the baseline anew at each proof; the old one stays nobody's truth."""
    space = plane.recorded("new").space.id
    plane.record_probes("new")
    with open_plane(tmp_path / "undrift.toml", role="worker") as worker:
        worker.timing = replace(worker.timing, proof_s=0.0)
        worker.door_of_worker(space)
        provider.swap("toy", Prefixed(dimensions=DIMENSIONS))
        with pytest.raises(ModelChanged):
            worker.door_of_worker(space)

        plane.record_probes("new", accept=True)

        assert worker.door_of_worker(space).space.id == space
        provider.swap("toy", HashingEmbedder(dimensions=DIMENSIONS))
        with pytest.raises(ModelChanged):
            worker.door_of_worker(space)


def test_a_worker_that_runs_takes_up_a_first_baseline(
    tmp_path: Path, provider: EmbeddingProvider, plane: ControlPlane
) -> None:
    """Only long texts move, which the reference of a space has none of."""
    space = plane.recorded("new").space.id
    with open_plane(tmp_path / "undrift.toml", role="worker") as worker:
        worker.timing = replace(worker.timing, proof_s=0.0)
        worker.door_of_worker(space)
        plane.record_probes("new")
        worker.door_of_worker(space)
        provider.swap("toy", Cut(dimensions=DIMENSIONS))

        with pytest.raises(ModelChanged) as caught:
            worker.door_of_worker(space)

    assert "truncation" in caught.value.detail


def work(plane: ControlPlane) -> None:
    plane.work("kb", lambda migration: migration is None or migration.phase is Phase.READY, sample=0)
