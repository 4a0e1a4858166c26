"""Where the target of a migration goes."""

from __future__ import annotations

import pytest

from undrift.domain.names import NameRule
from undrift.domain.shape import is_beside
from undrift.domain.space import SpaceId
from undrift.migrate.naming import target_address
from undrift.ports.store import Layout

NEW = SpaceId("minilm-l6-384-0123456789ab")


@pytest.mark.parametrize(
    ("serving", "epoch", "number", "address"),
    [
        ("kb", 1, 1, "kb__minilm-l6-384-0123456789ab"),
        ("kb", 4, 1, "kb__minilm-l6-384-0123456789ab_4"),
        ("kb", 4, 2, "kb__minilm-l6-384-0123456789ab_4_2"),
        ("kb?vector=v2_new", 5, 1, "kb__minilm-l6-384-0123456789ab_5"),
        ("docs?as=langchain", 1, 1, "kb__minilm-l6-384-0123456789ab?as=langchain"),
        ("app.docs?id=key&vector=v", 1, 1, "app.kb__minilm-l6-384-0123456789ab?id=key&vector=v"),
        ("my.docs", 1, 1, "kb__minilm-l6-384-0123456789ab"),
    ],
)
def test_a_collection_of_its_own_is_named_after_alias_and_space_and_has_the_shape(
    serving: str, epoch: int, number: int, address: str
) -> None:
    assert target_address(serving, "kb", NEW, Layout.COLLECTION, NameRule(), epoch=epoch, number=number) == address


@pytest.mark.parametrize(
    ("serving", "epoch", "number", "address"),
    [
        ("kb", 1, 1, "kb?vector=v1_minilm_l6_384_0123456789ab"),
        ("kb?vector=v1_minilm", 3, 2, "kb?vector=v3_minilm_l6_384_0123456789ab_2"),
        ("app.docs?id=key&text=body", 2, 1, "app.docs?id=key&text=body&vector=v2_minilm_l6_384_0123456789ab"),
    ],
)
def test_a_vector_in_the_same_records_is_named_after_epoch_and_space(
    serving: str, epoch: int, number: int, address: str
) -> None:
    found = target_address(serving, "kb", NEW, Layout.IN_PLACE, NameRule(), epoch=epoch, number=number)

    assert found == address
    assert is_beside(found, serving)


def test_a_long_name_of_a_vector_is_cut_and_still_another_one_for_every_migration() -> None:
    long = SpaceId(f"{'a' * 32}-1536-0123456789ab")
    names = [
        target_address("kb", "kb", long, Layout.IN_PLACE, NameRule(), epoch=epoch, number=number).partition("vector=")[
            2
        ]
        for epoch in (7, 7000)
        for number in (1, 2)
    ]

    assert len(set(names)) == 4
    assert max(map(len, names)) <= 42


def test_the_rule_of_the_store_that_it_is_in_counts_for_the_name_and_not_for_schema_and_shape() -> None:
    def named(serving: str, *, moves: bool = False) -> str:
        rule = NameRule(marks="_", longest=40)
        return target_address(serving, "kb", NEW, Layout.COLLECTION, rule, epoch=1, number=1, moves=moves)

    assert named("app.docs?id=my-key") == "app.kb__minilm_l6_384_0123456789ab?id=my-key"
    assert named("app.docs?as=langchain&id=key", moves=True) == "kb__minilm_l6_384_0123456789ab?as=langchain"
