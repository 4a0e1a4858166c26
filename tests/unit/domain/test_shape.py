"""Addresses of collections that undrift did not make."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undrift.domain.shape import OWN, Shape, TagPlace, is_beside, join_address, split_address, with_vector
from undrift.errors import BadConfig

_WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8)
_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="?", exclude_categories=["Cc", "Cs"]), min_size=1)


def test_a_name_alone_is_undrifts_own() -> None:
    assert split_address("docs") == ("docs", OWN)
    assert join_address("docs", OWN) == "docs"


def test_a_shape_is_read_from_behind_the_name() -> None:
    name, shape = split_address("docs?as=langchain&vector=dense&metadata=*&tags=ledger")

    assert name == "docs"
    assert shape == Shape(preset="langchain", vector="dense", metadata="*", tags=TagPlace.LEDGER)


@given(_NAMES, st.builds(Shape, preset=_WORDS, id=_WORDS, text=_WORDS, metadata=_WORDS, vector=_WORDS))
def test_an_address_keeps_its_shape(name: str, shape: Shape) -> None:
    assert split_address(join_address(name, shape)) == (name, shape)


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("?as=langchain", "NAME"),
        ("docs?", "NAME"),
        ("docs?colour=red", "colour"),
        ("docs?text=a&text=b", "once"),
        ("docs?tags=cloud", "payload or ledger"),
    ],
)
def test_what_is_no_shape_is_refused(address: str, named: str) -> None:
    with pytest.raises(BadConfig) as caught:
        split_address(address)

    assert named in f"{caught.value.message} {caught.value.detail}"


@pytest.mark.parametrize(
    ("one", "other", "beside"),
    [
        ("docs", "docs?vector=large", True),
        ("docs?vector=small", "docs?vector=large", True),
        ("docs?as=langchain", "docs?as=langchain&vector=large", True),
        ("docs", "docs", False),
        ("docs", "other?vector=large", False),
        ("docs", "docs?as=langchain", False),
        ("docs?text=a", "docs?text=b&vector=large", False),
    ],
)
def test_two_vectors_of_the_same_records_are_told_by_their_addresses(one: str, other: str, *, beside: bool) -> None:
    assert is_beside(one, other) is beside
    assert is_beside(other, one) is beside


def test_another_vector_of_the_same_records_has_an_address() -> None:
    assert with_vector("docs", "large") == "docs?vector=large"
    assert with_vector("docs?as=langchain&vector=small", "large") == "docs?as=langchain&vector=large"
