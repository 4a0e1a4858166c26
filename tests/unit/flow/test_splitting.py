"""A text that is too long is embedded in parts where its space says so, and never otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.flow.test_embed import KEPT, MemoryCache, Purse
from undrift import telemetry
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.domain.record import Vector, Vectors, canonical_text
from undrift.domain.space import Space, Truncation
from undrift.errors import BudgetExhausted, EmbedderRejected, TextTooLong
from undrift.flow.embed import EmbeddingDoor, Failing
from undrift.flow.splitting import combined, halves_of
from undrift.ports.embedder import EmbedderLimits, TokenCount
from undrift.testing.clock import VirtualClock

INNER = HashingEmbedder(dimensions=32)
MOST = 8
LONG = " ".join(f"word{number}" for number in range(30))
SHORT = ["the door", "is open", "now"]


class Limited:
    """A model that refuses more than eight words, and remembers what it embedded."""

    def __init__(self, truncation: Truncation = Truncation.SPLIT, *, normalized: bool = True) -> None:
        self.space: Space = replace(
            INNER.space, max_tokens=MOST, truncation=truncation, normalized=normalized, document_prefix="doc: "
        )
        self.limits: EmbedderLimits = replace(KEPT, batch_size=4)
        self.embedded: list[str] = []
        self.refused = 0
        self.hates = "\0"

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        bare = [text.removeprefix("doc: ") for text in texts]
        if any(len(text.split()) > MOST for text in bare):
            self.refused += 1
            raise TextTooLong("more than eight words")
        if any(self.hates in text for text in bare):
            raise EmbedderRejected("a word that it hates")
        self.embedded += bare
        return INNER.embed_documents(bare)

    def embed_query(self, text: str) -> Vector:
        vector: Vector = self.embed_documents([text])[0]
        return vector

    def count_tokens(self, texts: Sequence[str]) -> TokenCount:
        return TokenCount(tokens=sum(len(text.split()) for text in texts), exact=True)

    def close(self) -> None: ...


def door_to(model: Limited, cache: MemoryCache | None = None) -> EmbeddingDoor:
    return EmbeddingDoor(model, clock=VirtualClock(), cache=cache)


def leaves(text: str) -> list[str]:
    halves = halves_of(text) if len(text.split()) > MOST else None
    return [text] if halves is None else [leaf for half in halves for leaf in leaves(half)]


def expected(text: str, space: Space) -> Vector:
    if len(text.split()) <= MOST:
        vector: Vector = INNER.embed_documents([text])[0]
        return vector
    halves = halves_of(text)
    assert halves is not None
    rows = np.stack([expected(half, space) for half in halves]).astype(np.float64)
    mean = (rows * [[len(half)] for half in halves]).sum(axis=0) / sum(map(len, halves))
    return np.asarray(mean / np.linalg.norm(mean) if space.normalized else mean, dtype=np.float32)


@pytest.mark.parametrize("normalized", [True, False])
def test_a_long_text_gets_the_weighted_mean_of_its_parts(normalized: bool) -> None:
    model = Limited(normalized=normalized)
    before = telemetry.counted(telemetry.Metric.TEXTS_SPLIT)

    embedded = door_to(model).documents([*SHORT, LONG])

    np.testing.assert_allclose(embedded.vectors[3], expected(LONG, model.space), atol=1e-6)
    np.testing.assert_allclose(embedded.vectors[:3], INNER.embed_documents(SHORT), atol=1e-6)
    assert (embedded.failures, embedded.split, embedded.cut) == ({}, 1, 0)
    assert sorted(model.embedded) == sorted([*SHORT, *leaves(LONG)])
    assert telemetry.counted(telemetry.Metric.TEXTS_SPLIT) - before == 1


def test_a_document_alone_in_a_batch_or_with_others_gets_the_same_vector() -> None:
    """Whoever embeds it, and whatever stands beside it."""
    longer = f"{LONG} and {LONG}"
    alone = door_to(Limited()).documents([LONG]).vectors[0]
    together = door_to(Limited()).documents([longer, *SHORT, LONG, *SHORT]).vectors[4]
    fresh = door_to(Limited()).fresh([*SHORT, LONG])[3]

    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(fresh, alone, atol=1e-6)


def test_batches_stay_as_large_as_before() -> None:
    """That a text was too long says nothing about how many texts fit into a request."""
    model = Limited()
    door = door_to(model)
    door.documents([LONG, *SHORT])
    refused = model.refused

    door.documents([f"{text} again" for text in (*SHORT, *SHORT)])

    assert model.refused == refused
    assert door._most_texts == model.limits.batch_size


def test_each_part_is_paid_for_once_also_when_the_money_ends_in_the_middle() -> None:
    """Its parts are texts like any other, and in the cache."""
    cache, model = MemoryCache(), Limited()
    parts = len(leaves(LONG))
    with pytest.raises(BudgetExhausted):
        door_to(model, cache).documents([LONG], purse=Purse(limit=33))
    assert 0 < len(model.embedded) < parts

    door_to(model, cache).documents([LONG], purse=Purse())
    door_to(model, cache).documents([LONG, *leaves(LONG)], purse=Purse(limit=0))

    assert sorted(model.embedded) == sorted(leaves(LONG))


def test_a_text_with_a_part_that_the_model_refuses_fails_with_the_reason() -> None:
    model = Limited()
    model.hates = "word29"

    embedded = door_to(model).documents([LONG, *SHORT])

    failure = embedded.failures[0]
    assert (failure.reason, failure.detail) == (Failing.REJECTED, "a part of it: a word that it hates")
    assert list(embedded.failures) == [0]


def test_a_text_of_which_nothing_is_left_to_split_fails() -> None:
    class Hopeless(Limited):
        def embed_documents(self, texts: Sequence[str]) -> Vectors:
            if any("x" in text for text in texts):
                raise TextTooLong("never an x")
            return super().embed_documents(texts)

    embedded = door_to(Hopeless()).documents(["xx", "the door"])

    assert [failure.reason for failure in embedded.failures.values()] == [Failing.TOO_LONG]


@pytest.mark.parametrize("truncation", [Truncation.REFUSE, Truncation.CUT])
def test_nothing_is_split_where_the_space_says_something_else(truncation: Truncation) -> None:
    model = Limited(truncation)

    embedded = door_to(model).documents([LONG, *SHORT])

    assert [failure.reason for failure in embedded.failures.values()] == [Failing.TOO_LONG]
    assert sorted(model.embedded) == sorted(SHORT)
    with pytest.raises(TextTooLong):
        door_to(model).query(LONG)
    with pytest.raises(TextTooLong):
        door_to(model).fresh([LONG])


def test_a_long_query_is_split_as_well() -> None:
    model = Limited()

    np.testing.assert_allclose(door_to(model).query(LONG), expected(LONG, model.space), atol=1e-6)


def test_how_long_texts_are_treated_is_part_of_the_space() -> None:
    assert len({Limited(truncation).space.id for truncation in Truncation}) == 3


@given(st.text(st.sampled_from("ab \n\u00e9"), min_size=1, max_size=60))
def test_halves_have_every_word_and_end_at_white_space_near_the_middle(text: str) -> None:
    text = canonical_text(text)
    halves = halves_of(text)
    if halves is None:
        assert len(text) < 2
        return
    left, right = halves
    assert all(halves)
    assert (canonical_text(left), canonical_text(right)) == halves
    assert "".join((left + right).split()) == "".join(text.split())


def test_no_word_is_cut_where_there_is_white_space_near_the_middle() -> None:
    assert halves_of("a" * 40 + " " + "b" * 30) == ("a" * 40, "b" * 30)
    assert halves_of("a" * 60 + " " + "b" * 4) == ("a" * 32, "a" * 28 + " bbbb")


def test_the_mean_of_opposite_vectors_has_no_direction_and_is_not_made_up() -> None:
    up = np.array([1.0, 0.0], dtype=np.float32)
    assert not combined([up, -up], ["ab", "cd"], replace(INNER.space, dimensions=2)).any()
