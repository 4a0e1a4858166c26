"""Vectors are kept small, and come back as they went."""

from __future__ import annotations

import json

import numpy as np

from undrift.domain.space import SpaceId
from undrift.domain.window import Window, as_kept, labels_of, packed, unpacked


def vectors(count: int = 5, dimensions: int = 7) -> np.ndarray:
    found = np.random.default_rng(1).standard_normal((count, dimensions))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def test_a_window_comes_back_as_it_went() -> None:
    window = Window(
        space=SpaceId("space-a"), moment="now", vectors=vectors(), labels=[["lang=en"], [], ["a=b"]], more={"total": 3}
    )

    found = Window.from_text(window.as_text())

    assert (found.space, found.moment, found.more) == ("space-a", "now", {"total": 3})
    assert [list(one) for one in found.labels] == [["lang=en"], [], ["a=b"]]
    assert found.vectors.dtype == np.float32
    assert np.abs(found.vectors - window.vectors).max() < 5e-4
    assert found.of_label("a=b").tolist() == [2]
    json.loads(window.as_text())


def test_a_value_takes_two_bytes_and_two_thirds() -> None:
    assert len(packed(vectors(300, 384))) == 300 * 384 * 8 // 3


def test_what_was_kept_once_is_kept_the_same_again() -> None:
    once = unpacked(packed(vectors()), 7)

    assert np.array_equal(as_kept(vectors()), once)


def test_long_vectors_and_such_as_are_no_numbers_are_kept() -> None:
    strange = vectors() * 1e7
    strange[1, 1], strange[2, 2], strange[3] = np.nan, np.inf, 0

    found = as_kept(strange)

    assert np.isfinite(found[[0, 3, 4]]).all()
    assert not np.isfinite(found[1]).all()
    assert not np.isfinite(found[2]).all()


def test_labels_are_of_the_keys_that_have_a_plain_value() -> None:
    assert labels_of({"lang": "en", "n": 3, "list": [1], "none": None}, ["lang", "n", "list", "none", "no"]) == [
        "lang=en",
        "n=3",
    ]
