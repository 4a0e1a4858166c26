"""Addresses of collections that undrift did not make."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undrift.domain.shape import OWN, Shape, TagPlace, join_address, split_address
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
