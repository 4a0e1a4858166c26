from __future__ import annotations

import threading

import numpy as np
import pytest

from undrift.adapters.embedders.callable import CallableEmbedder
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.domain.record import Vectors
from undrift.errors import BadArgument, EmbedderUnavailable, ModelChanged
from undrift.flow.embed import EmbeddingDoor
from undrift.flow.probe import PROBE_QUERIES, PROBE_TEXTS, ModelProof, prove, record
from undrift.ports.embedder import Embedder
from undrift.testing.clock import VirtualClock
from undrift.testing.embedders import Fault, FaultyEmbedder

D = 768
MODEL = HashingEmbedder(dimensions=D)


def door_to(embedder: Embedder) -> EmbeddingDoor:
    return EmbeddingDoor(embedder, clock=VirtualClock())


def unit(vectors: Vectors) -> Vectors:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def noisy(texts: list[str], *, relative: float) -> Vectors:
    vectors = MODEL.embed_documents(texts)
    noise = np.random.default_rng(len(texts)).normal(size=vectors.shape) / np.sqrt(D)
    return unit((vectors + relative * noise).astype(np.float32))


def dense(texts: list[str]) -> Vectors:
    """The model turned in its space, so that every value is small and none is zero, as in vectors of a network."""
    return (MODEL.embed_documents(texts) @ TURN).astype(np.float32)


def in_eight_bits(texts: list[str]) -> Vectors:
    """One scale for all values, as in vectors that a server keeps as int8."""
    return unit(np.rint(dense(texts) * 127).astype(np.float32))


def function(call: object, **options: object) -> EmbeddingDoor:
    return door_to(CallableEmbedder(function=call, dimensions=D, name="m", **options))  # type: ignore[arg-type]


TURN = np.linalg.qr(np.random.default_rng(7).normal(size=(D, D)))[0]
REFERENCE = record(door_to(MODEL))


def test_the_reference_has_a_vector_for_every_probe() -> None:
    assert REFERENCE.shape == (len(PROBE_TEXTS) + len(PROBE_QUERIES), D)
    assert REFERENCE.dtype == np.float32


def test_no_probe_is_too_long_for_a_small_model() -> None:
    assert max(len(text.encode()) for text in PROBE_TEXTS) < 350
    assert len({text.lower() for text in PROBE_TEXTS}) == len(PROBE_TEXTS) - 1


def test_the_same_model_passes() -> None:
    prove(door_to(HashingEmbedder(dimensions=D)), REFERENCE, "m")


@pytest.mark.parametrize("relative", [1e-6, 1e-3])
def test_honest_noise_passes(relative: float) -> None:
    prove(function(lambda texts: noisy(texts, relative=relative)), REFERENCE, "m")


@pytest.mark.parametrize(
    "changed",
    [
        lambda texts: noisy(texts, relative=0.08),
        dense,
        HashingEmbedder(dimensions=D, seed="retrained").embed_documents,
        lambda texts: MODEL.embed_documents(["passage: " + text for text in texts]),
        lambda texts: MODEL.embed_documents([text.upper() for text in texts])[:, ::-1],
        lambda texts: MODEL.embed_documents([text[:40] for text in texts]),
        lambda texts: MODEL.embed_documents(texts) * -1,
    ],
    ids=["noise", "turned", "other weights", "other prefix", "other order", "cut texts", "mirrored"],
)
def test_a_changed_model_is_caught(changed: object) -> None:
    with pytest.raises(ModelChanged, match="model m no longer gives the vectors") as caught:
        prove(function(changed), REFERENCE, "m")

    assert "least" in caught.value.detail
    assert "0.999 is required" in caught.value.detail
    assert "probe" in caught.value.detail
    assert "undrift" in caught.value.hint


def test_a_model_whose_vectors_were_quantised_is_caught() -> None:
    with pytest.raises(ModelChanged):
        prove(function(in_eight_bits), record(function(dense)), "m")


def test_a_model_that_treats_capitals_differently_is_caught() -> None:
    """Of a real release that gave one vector to every text in capitals (ollama issue 13942)."""
    one = MODEL.embed_documents(["one"])

    def deaf_to_capitals(texts: list[str]) -> Vectors:
        return np.concatenate([one if text.isupper() else MODEL.embed_documents([text]) for text in texts])

    with pytest.raises(ModelChanged) as caught:
        prove(function(deaf_to_capitals), REFERENCE, "m")

    assert "THE KEEPER" in caught.value.detail


def test_a_change_of_the_query_side_alone_is_caught() -> None:
    def on_queries(texts: list[str]) -> Vectors:
        return MODEL.embed_documents(["search_query: " + text for text in texts])

    with pytest.raises(ModelChanged) as caught:
        prove(function(MODEL.embed_documents, query_function=on_queries), REFERENCE, "m")

    assert PROBE_QUERIES[0] in caught.value.detail or PROBE_QUERIES[1] in caught.value.detail


def test_other_dimensions_are_a_change() -> None:
    with pytest.raises(ModelChanged) as caught:
        prove(door_to(HashingEmbedder(dimensions=D // 2)), REFERENCE, "m")

    assert f"{D // 2} dimensions" in caught.value.detail


def test_an_answer_of_other_dimensions_than_the_space_says_is_a_change() -> None:
    with pytest.raises(ModelChanged) as caught:
        prove(function(HashingEmbedder(dimensions=D // 2).embed_documents), REFERENCE, "m")

    assert f"{D // 2} dimensions" in caught.value.detail


def test_vectors_that_became_longer_are_a_change_where_length_matters() -> None:
    with pytest.raises(ModelChanged) as caught:
        prove(function(lambda texts: MODEL.embed_documents(texts) * 1.1), REFERENCE, "m")

    assert "1.1 long" in caught.value.detail


@pytest.mark.parametrize("reference", [REFERENCE[1:], REFERENCE[0], np.zeros((0, D), np.float32)])
def test_a_reference_of_other_probes_proves_nothing(reference: Vectors) -> None:
    with pytest.raises(BadArgument, match="probe reference"):
        prove(door_to(MODEL), reference, "m")


def test_a_damaged_reference_proves_nothing() -> None:
    damaged = REFERENCE.copy()
    damaged[3, 5] = np.nan

    with pytest.raises(ModelChanged):
        prove(door_to(MODEL), damaged, "m")


class Watched:
    """A proof with a model that can be changed and a clock that can be moved."""

    def __init__(self, *faults: Fault | None, after: int = 10**9) -> None:
        self.clock = VirtualClock()
        self.embedder = FaultyEmbedder(
            MODEL, faults=faults, changes_into=HashingEmbedder(dimensions=D, seed="other"), after=after
        )
        door = EmbeddingDoor(self.embedder, clock=self.clock)
        self.proof = ModelProof(door, REFERENCE, model="m", clock=self.clock, every_s=60)

    @property
    def calls(self) -> int:
        return len(self.embedder.calls)


#: Calls of one proof: the documents in one batch, and each query.
PER_PROOF = 1 + len(PROBE_QUERIES)


def test_nothing_is_embedded_before_the_first_use() -> None:
    assert Watched().calls == 0
    assert Watched().proof.proven_at is None


def test_a_fresh_proof_costs_nothing() -> None:
    watched = Watched()
    for _ in range(100):
        watched.proof.check()

    assert watched.calls == PER_PROOF


def test_an_old_proof_is_renewed() -> None:
    watched = Watched()
    watched.proof.check()
    watched.clock.advance(60)
    watched.proof.check()

    assert watched.calls == 2 * PER_PROOF


def test_a_model_that_changes_while_it_is_used_is_stopped_and_says_since_when_it_is_in_doubt() -> None:
    watched = Watched(after=PER_PROOF)
    watched.proof.check()
    proven_at = watched.proof.proven_at
    watched.clock.advance(61)

    for _ in range(3):
        with pytest.raises(ModelChanged):
            watched.proof.check()

    assert watched.calls == 2 * PER_PROOF
    assert watched.proof.proven_at == proven_at == VirtualClock().monotonic()


def test_a_model_that_is_put_back_is_found_again() -> None:
    watched = Watched(after=0)
    with pytest.raises(ModelChanged):
        watched.proof.check()
    watched.embedder._changed = None
    watched.clock.advance(60)

    watched.proof.check()

    assert watched.proof.proven_at == watched.clock.monotonic()


def test_an_outage_is_no_change_and_is_looked_at_again() -> None:
    watched = Watched(*[Fault.UNAVAILABLE] * 4)
    with pytest.raises(EmbedderUnavailable):
        watched.proof.check()

    watched.proof.check()

    assert watched.proof.proven_at is not None


def test_threads_wait_for_one_proof() -> None:
    watched = Watched()
    threads = [threading.Thread(target=watched.proof.check) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert watched.calls == PER_PROOF
