"""Facts about models, and what follows from several of them."""

from __future__ import annotations

from datetime import date

import pytest

from undrift.adapters.feeds.table import COLUMNS, read_facts, shipped
from undrift.domain.catalogue import (
    Attribute,
    Catalogue,
    Confidence,
    Fact,
    ModelKey,
    Precision,
    channel_of,
    checked_fact,
)
from undrift.domain.sunset import sunset_of
from undrift.errors import BadConfig

TODAY = date(2026, 11, 22)
#: On no later day was a shipped fact looked at.
LAST_SEEN = date(2026, 11, 23)
KEY = ModelKey(channel="acme", model="e1")


def fact(
    value: str,
    *,
    attribute: Attribute = Attribute.SHUTDOWN,
    source: str = "acme page",
    seen: date = TODAY,
    confidence: Confidence = Confidence.HIGH,
    precision: Precision | None = Precision.EXACT,
) -> Fact:
    return Fact(
        key=KEY,
        attribute=attribute,
        value=value,
        source=source,
        seen=seen,
        confidence=confidence,
        precision=precision if attribute is Attribute.SHUTDOWN else None,
    )


def line(**changed: str) -> str:
    values = dict.fromkeys(COLUMNS, "") | {
        "channel": "acme",
        "model": "e1",
        "attribute": "dimensions",
        "value": "768",
        "source": "acme page",
        "seen": "2026-11-22",
        "confidence": "high",
    }
    return ",".join((values | changed).values())


def test_every_shipped_fact_has_a_source_and_a_day_and_a_value_that_can_be() -> None:
    facts = shipped()

    assert len(facts) > 700
    assert len({one.key for one in facts}) > 150
    for one in facts:
        assert checked_fact(one) is one
        assert date(2024, 1, 1) < one.seen <= LAST_SEEN


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"source": ""}, "names no source"),
        ({"seen": ""}, "no fact"),
        ({"seen": "lately"}, "no fact"),
        ({"confidence": "sure"}, "no fact"),
        ({"attribute": "colour"}, "no fact"),
        ({"channel": ""}, "no channel"),
        ({"value": ""}, "is empty"),
        ({"value": "-3"}, "no length of a vector"),
        ({"precision": "exact"}, "cannot have a precision"),
        ({"attribute": "shutdown", "value": "2027-01-01"}, "needs a precision"),
        ({"attribute": "shutdown", "value": "2027-13-01", "precision": "exact"}, "no day"),
        ({"attribute": "price_usd", "value": "100000"}, "no price"),
        ({"attribute": "price_usd", "value": "0"}, "no price"),
        ({"attribute": "max_tokens", "value": "8k"}, "no number of tokens"),
        ({"attribute": "normalized", "value": "mostly"}, "neither yes nor no"),
        ({"attribute": "replacement", "value": "two words"}, "no name"),
    ],
)
def test_a_line_that_is_no_fact_is_refused_and_named(changed: dict[str, str], named: str) -> None:
    with pytest.raises(BadConfig, match="line 3 of the file") as refused:
        read_facts([",".join(COLUMNS), line(), line(**changed)], "the file")

    assert named in refused.value.message


@pytest.mark.parametrize("head", ["", "channel,model", line()])
def test_a_table_without_its_first_line_is_refused(head: str) -> None:
    with pytest.raises(BadConfig, match="names of the columns"):
        read_facts([head, line()], "the file")


def test_the_most_trusted_and_then_the_newest_fact_counts() -> None:
    trusted = fact("1024", attribute=Attribute.DIMENSIONS, seen=date(2026, 1, 1))
    newer = fact("3072", attribute=Attribute.DIMENSIONS, source="a blog", confidence=Confidence.LOW)
    newest = fact("1536", attribute=Attribute.DIMENSIONS, source="acme page", seen=date(2026, 6, 1))

    assert Catalogue([trusted, newer]).fact(KEY, Attribute.DIMENSIONS) is trusted
    assert Catalogue([trusted, newer, newest]).fact(KEY, Attribute.DIMENSIONS) is newest
    assert Catalogue([trusted]).fact(KEY, Attribute.PRICE_USD) is None


def test_what_the_user_says_counts_alone() -> None:
    own = fact("2030-01-01", source="our contract", confidence=Confidence.LOW)

    sunset = sunset_of(Catalogue([fact("2027-01-01")], [own]), KEY)

    assert sunset is not None
    assert (sunset.end, sunset.others) == (own, ())


def test_of_sources_that_disagree_the_earliest_day_counts() -> None:
    early, late = fact("2027-01-01", source="a blog"), fact("2028-01-01", source="acme page")

    sunset = sunset_of(Catalogue([late, early]), KEY)

    assert sunset is not None
    assert sunset.end is early
    assert sunset.disagreeing == (late,)
    assert not sunset.moved


def test_a_day_that_its_own_source_moved_is_history() -> None:
    before, after = fact("2026-12-01", seen=date(2026, 1, 1)), fact("2028-01-01")

    sunset = sunset_of(Catalogue([after, before]), KEY)

    assert sunset is not None
    assert (sunset.end, sunset.disagreeing, sunset.moved) == (after, (), True)


@pytest.mark.parametrize(
    ("day", "precision", "level"),
    [
        ("2027-06-01", Precision.EXACT, "none"),
        ("2027-05-21", Precision.EXACT, "info"),
        ("2027-01-21", Precision.EXACT, "warn"),
        ("2026-12-06", Precision.EXACT, "page"),
        ("2026-11-23", Precision.EXACT, "page"),
        ("2026-11-22", Precision.EXACT, "gone"),
        ("2026-11-22", Precision.NOT_BEFORE, "page"),
    ],
)
def test_it_is_the_more_urgent_the_nearer_the_day_is(day: str, precision: Precision, level: str) -> None:
    sunset = sunset_of(Catalogue([fact(day, precision=precision)]), KEY)

    assert sunset is not None
    assert sunset.level(TODAY) == level


def test_a_migration_that_begins_on_the_last_safe_day_ends_with_the_margin() -> None:
    sunset = sunset_of(Catalogue([fact("2027-01-31")]), KEY)

    assert sunset is not None
    assert sunset.latest_safe_start(hours=0) == date(2027, 1, 1)
    assert sunset.latest_safe_start(hours=24 * 10) == date(2026, 12, 22)
    assert sunset.latest_safe_start(hours=1) == date(2026, 12, 31), "a day that has begun is not counted on"
    assert sunset.latest_safe_start(hours=float("inf")) == date.min


def test_the_cases_that_moved_disagreed_and_died_are_shipped() -> None:
    catalogue = Catalogue(shipped())
    moved, disagreed, died = (
        sunset_of(catalogue, ModelKey(channel=channel, model=model))
        for channel, model in [
            ("gemini-api", "gemini-embedding-001"),
            ("azure-openai", "text-embedding-ada-002"),
            ("gemini-api", "text-embedding-004"),
        ]
    )

    assert moved is not None
    assert (moved.end.value, moved.moved, moved.disagreeing) == ("2028-05-14", True, ())
    assert moved.others[0].value == "2026-07-14"
    assert disagreed is not None
    assert (disagreed.end.value, [one.value for one in disagreed.disagreeing]) == ("2027-04-15", ["2028-02-09"])
    assert died is not None
    assert died.level(TODAY) == "gone"
    assert sunset_of(catalogue, ModelKey(channel="openai", model="text-embedding-ada-002")) is None
    elsewhere = sunset_of(catalogue, ModelKey(channel="vertex", model="text-embedding-004"))
    assert elsewhere is not None
    assert elsewhere.end.value == "2027-04-01", "the same name lives on, on another channel"


def test_a_model_is_found_by_every_name() -> None:
    catalogue = Catalogue([fact("2027-01-01"), fact("e-one", attribute=Attribute.ALSO_CALLED)])

    assert catalogue.find("e1") == catalogue.find("acme/e1") == catalogue.find("e-one") == [KEY]
    assert catalogue.find("e") == []


@pytest.mark.parametrize(
    ("channel", "known"),
    [("my.openai.azure.com", "azure-openai"), ("openai", "openai"), ("sentence-transformers", "open"), ("box", "box")],
)
def test_a_host_is_the_channel_that_answers_there(channel: str, known: str) -> None:
    assert channel_of(channel) == known
