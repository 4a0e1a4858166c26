"""What a change looks like, by its marks alone: no texts are treated otherwise here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from undrift.domain.probe import traits_of_stratum
from undrift.quality.canary import Verdict, learn, look
from undrift.quality.diagnosis import Diagnosis, Kind, diagnose

DIMENSIONS = 128
STRATA = [
    "plain",
    "title",
    "short",
    "lower",
    "upper",
    "accented",
    "query",
    "code",
    "numeric",
    "script",
    "twin",
    "long",
] * 2
TRAITS = [traits_of_stratum(name) for name in STRATA]

#: What each version of a real model should be taken for.
REAL = {
    "w_fp16": Kind.PRECISION,
    "autocast_bf16": Kind.PRECISION,
    "w_int8_row": Kind.PRECISION,
    "wnoise_0.003": Kind.WEIGHTS,
    "ft_5": Kind.WEIGHTS,
    "pool_cls": Kind.POOLING,
    "prefix_query": Kind.PREFIX,
    "trunc128": Kind.TRUNCATION,
    "cased_bug": Kind.CASE,
    "no_norm": Kind.NORM,
}


def vectors(seed: int = 0) -> NDArray[np.float64]:
    made = np.random.default_rng(seed).standard_normal((len(STRATA), DIMENSIONS)) + 0.5
    return np.asarray(made / np.linalg.norm(made, axis=1)[:, None])


def unit(made: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(made / np.linalg.norm(made, axis=1)[:, None])


def shifted(sizes: NDArray[np.float64], shared: float = 0.3, seed: int = 1) -> NDArray[np.float64]:
    """Move each vector by so much, partly in a direction that all have in common."""
    chance = np.random.default_rng(seed)
    own = chance.standard_normal((len(STRATA), DIMENSIONS))
    ways = np.sqrt(1 - shared) * own + np.sqrt(shared) * chance.standard_normal(DIMENSIONS)
    ways /= np.linalg.norm(ways, axis=1)[:, None]
    moved = vectors() + ways * np.sqrt(2 * sizes)[:, None]
    return np.asarray(moved / np.linalg.norm(moved, axis=1)[:, None])


def named(now: NDArray[np.float64]) -> Diagnosis:
    seen = look(
        learn(np.repeat(vectors()[None], 4, axis=0).astype(np.float32)), np.stack([now, now]).astype(np.float32)
    )
    assert seen.verdict is Verdict.CHANGED
    return diagnose(learn(np.repeat(vectors()[None], 4, axis=0).astype(np.float32)), seen, TRAITS)


def where(flags: list[bool], size: float) -> NDArray[np.float64]:
    return np.where(np.array(flags), size, 0.0)


def test_texts_that_moved_tell_what_they_have_in_common() -> None:
    assert named(shifted(where([one.capitals for one in TRAITS], 0.2))).kind is Kind.CASE
    assert named(shifted(where([one.accents for one in TRAITS], 0.05))).kind is Kind.ACCENTS
    assert named(shifted(where([one.script for one in TRAITS], 0.05))).kind is Kind.ACCENTS
    assert named(shifted(where([one.words > 100 for one in TRAITS], 0.1))).kind is Kind.TRUNCATION


def test_short_texts_that_moved_most_tell_of_a_prefix() -> None:
    sizes = 0.5 / np.array([one.words for one in TRAITS])

    assert named(shifted(sizes, shared=0.5)).kind is Kind.PREFIX


def test_an_even_small_displacement_is_a_number_format_or_something_like_it() -> None:
    even = np.exp(np.random.default_rng(2).normal(0, 0.3, len(STRATA)))

    found = named(shifted(5e-4 * even))

    assert (found.kind, found.sure) == (Kind.PRECISION, False)
    assert "a small change of weights can look the same" in found.words
    assert named(shifted(6e-5 * even)).kind is Kind.WEIGHTS


def test_an_uneven_displacement_is_of_other_weights() -> None:
    uneven = np.exp(np.random.default_rng(3).normal(0, 0.9, len(STRATA)))

    assert named(shifted(2e-3 * uneven)).kind is Kind.WEIGHTS


@pytest.mark.parametrize("rank", [3, 32])
def test_a_head_moves_all_texts_in_fewer_directions_than_they_have(rank: int) -> None:
    chance = np.random.default_rng(6)
    head = chance.standard_normal((DIMENSIONS, rank)) @ chance.standard_normal((rank, DIMENSIONS)) / DIMENSIONS

    assert named(unit(vectors() + 0.1 * vectors() @ head)).kind is Kind.WEIGHTS


def test_answers_that_are_rounded_move_whatever_the_text() -> None:
    """The grid itself is lost when somebody brings the vectors to the length 1 again."""
    assert named(unit(np.round(vectors() * 40))).kind is Kind.PRECISION
    assert named(np.sign(vectors())).kind is Kind.PRECISION


def test_the_same_vector_taken_from_all_is_known_from_what_is_left() -> None:
    found = named(unit(vectors() - vectors().mean(axis=0)))

    assert (found.kind, found.sure) == (Kind.NORM, True)
    assert found.words.startswith("centring")


def test_texts_with_words_in_capitals_or_with_small_letters_tell_of_case() -> None:
    assert named(shifted(where([one.shouted for one in TRAITS], 0.2))).kind is Kind.CASE
    assert named(shifted(where([one.small for one in TRAITS], 0.2))).kind is Kind.CASE


def test_what_is_wrong_with_the_vectors_themselves_comes_first() -> None:
    turn = np.linalg.qr(np.random.default_rng(4).standard_normal((DIMENSIONS, DIMENSIONS)))[0]

    assert named(vectors() * 2).kind is Kind.NORM
    assert named(vectors() @ turn).kind is Kind.ROTATION
    assert named(np.full((len(STRATA), DIMENSIONS), np.nan)).kind is Kind.UNKNOWN
    assert named(np.ones((len(STRATA), 7))).kind is Kind.MODEL


@pytest.mark.parametrize("name", REAL)
def test_changes_of_a_real_model_are_named_without_its_texts(name: str, shared_data: Path) -> None:
    """Nine draws of 32 probes in ten; the benchmark counts more of them, and with noise."""
    with np.load(shared_data / "vectors" / "probe_changes.npz", allow_pickle=False) as kept:
        base, now, strata = kept["base"], kept[name], [str(stratum) for stratum in kept["strata"]]
    chance, right = np.random.default_rng(5), 0
    for _ in range(20):
        rows = np.concatenate(
            [chance.choice(np.flatnonzero(np.array(strata) == kind), 3, replace=False) for kind in sorted(set(strata))]
        )
        floor = learn(np.repeat(base[rows][None], 4, axis=0))
        seen = look(floor, np.repeat(now[rows][None], 2, axis=0))
        right += diagnose(floor, seen, [traits_of_stratum(strata[row]) for row in rows]).kind is REAL[name]

    assert right >= 18
