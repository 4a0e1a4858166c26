"""Names that undrift makes up keep to the rules of the store that they are for, and stay apart."""

from __future__ import annotations

import re

import pytest

from undrift.adapters.stores.milvus import collections as milvus
from undrift.adapters.stores.pinecone import indexes as pinecone
from undrift.adapters.stores.weaviate import collections as weaviate
from undrift.domain.names import NameRule

SPACE = "minilm-l6-384-0123456789ab"
MILVUS = NameRule(marks="_", letter_first=True)
PINECONE = NameRule(marks="-", capitals=False, letter_first=True, longest=45)
POSTGRES = NameRule(longest=58)
AWKWARD = ("kb", "My.Docs", "my-docs", "my_docs", "2024", "_", "-", "a" * 300, "\u00e9t\u00e9", "\U0001f600", "A", "a")


def test_a_name_says_alias_and_space() -> None:
    assert NameRule().named("kb", SPACE) == "kb__minilm-l6-384-0123456789ab"
    assert MILVUS.named("kb", f"{SPACE}_4_2") == "kb__minilm_l6_384_0123456789ab_4_2"
    assert PINECONE.named("kb", f"{SPACE}_4") == "kb--minilm-l6-384-0123456789ab-4"


@pytest.mark.parametrize(
    "rule", [NameRule(), MILVUS, PINECONE, POSTGRES], ids=["any", "milvus", "pinecone", "postgres"]
)
def test_every_name_is_within_the_rule_and_no_two_are_the_same(rule: NameRule) -> None:
    pairs = [(alias, f"{SPACE}{end}") for alias in AWKWARD for end in ("", "_2", "_2_2")]

    names = [rule.named(*pair) for pair in pairs]

    assert len(set(names)) == len(pairs)
    letters = "A-Za-z0-9" if rule.capitals else "a-z0-9"
    first = "[A-Za-z]" if rule.letter_first else ""
    legal = re.compile(rf"(?={first})[{letters}{re.escape(rule.marks)}]{{1,{rule.longest}}}")
    assert [name for name in names if not legal.fullmatch(name)] == []
    assert names == [rule.named(*pair) for pair in pairs]


@pytest.mark.parametrize("alias", AWKWARD, ids=range(len(AWKWARD)))
def test_a_store_that_takes_few_names_is_given_one_that_it_need_not_change(alias: str) -> None:
    for physical, rule in ((milvus.physical, MILVUS), (pinecone.physical, PINECONE)):
        name = rule.named(alias, SPACE)
        assert physical(name) == name
    name = MILVUS.named(alias, SPACE)
    assert weaviate.physical(name) == name[0].upper() + name[1:]
