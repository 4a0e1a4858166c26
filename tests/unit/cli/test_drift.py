"""One look at everything about an alias that drifts."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from tests.unit.cli.running import Undrift, plane_of, write_lines
from tests.unit.cli.shapes import missing_keys

WORDS, NEW = [f"word{number}" for number in range(200)], [f"new{number}" for number in range(40)]


def documents(first: int, count: int, *, novel: bool = False) -> list[dict[str, object]]:
    rng = random.Random(first)
    return [
        {
            "id": f"d{number:05}",
            "text": " ".join(rng.choices(NEW if novel and number % 2 else WORDS, k=8)),
            "metadata": {"lang": "en"},
        }
        for number in range(first, first + count)
    ]


@pytest.fixture
def looked(undrift: Undrift, tmp_path: Path) -> Undrift:
    """A collection of 600 documents of which the reference is taken."""
    write_lines(tmp_path / "first.jsonl", documents(0, 600))
    assert undrift("put", "kb", "first.jsonl").code == 0
    assert undrift("drift", "kb").code == 0
    return undrift


def test_a_collection_as_before_is_good(looked: Undrift) -> None:
    told, value = looked("drift", "kb"), looked("drift", "kb", "--json")

    assert told.code == value.code == 0
    assert missing_keys("drift", value.json) == []
    assert value.json["verdict"] == "good"
    assert "kb: 600 documents that are there now are as the reference" in told.out
    assert "600 sampled vectors of kb hang together" in told.out


def test_a_new_topic_ends_with_3_and_shows_what_it_is_about(looked: Undrift, tmp_path: Path) -> None:
    write_lines(tmp_path / "more.jsonl", documents(600, 400, novel=True))
    looked("put", "kb", "more.jsonl")

    told = looked("drift", "kb", "--only", "documents")

    assert told.code == 3
    assert "400 documents that came since differ from the reference: some of them are about" in told.out
    assert "such as: new" in told.out
    assert "undrift alias audit kb" in told.out

    accepted = looked("drift", "kb", "--accept", "documents")
    assert accepted.code == 0
    assert "1,000 documents of kb are the reference from now on" in accepted.out
    assert looked("drift", "kb", "--only", "documents").code == 0


def test_two_looks_of_the_look_out_are_an_alert(looked: Undrift, tmp_path: Path) -> None:
    write_lines(tmp_path / "more.jsonl", documents(600, 400, novel=True))
    looked("put", "kb", "more.jsonl")

    first, second = (looked("watch", "--once", "documents", "--json") for _ in range(2))

    assert [one["state"] for one in first.json["findings"]] == ["bad"]
    assert (first.code, second.code) == (0, 3)
    assert [one["key"] for one in looked("alert", "list", "--json").json["alerts"]] == ["documents/kb"]
    looked("drift", "kb", "--accept", "documents")
    assert looked("alert", "list", "--json").json["alerts"] == []
    assert [one["event"] for one in looked("watch", "--once", "documents", "--json").json["tellings"]] == ["resolved"]


def test_small_collections_are_passed_over_by_the_look_out_and_explained_by_the_verb(
    undrift: Undrift, tmp_path: Path
) -> None:
    write_lines(tmp_path / "few.jsonl", documents(0, 6))
    undrift("put", "kb", "few.jsonl")

    told = undrift("drift", "kb")

    assert told.code == 0
    assert "244 more are needed" in told.out
    assert undrift("watch", "--once", "--json").json["findings"] == []


def test_golden_answers_are_looked_at_where_a_set_is_known(looked: Undrift, tmp_path: Path) -> None:
    pytest.importorskip("pytrec_eval")
    asked = [{"id": f"q{number}", "text": f"word{number} word{number + 1}"} for number in range(20)]
    write_lines(tmp_path / "queries.jsonl", asked)
    (tmp_path / "judged.tsv").write_text("".join(f"q{number}\td{number:05}\t1\n" for number in range(20)))
    looked("golden", "import", "set", "--queries", "queries.jsonl", "--judgements", "judged.tsv")

    first, second = (looked("drift", "kb", "--only", "retrieval", "--json") for _ in range(2))

    assert first.json["verdict"] == "unknown"
    assert second.json["findings"][0]["figures"]["overlap_ratio"] == 1
    with plane_of(tmp_path) as plane:
        assert [one["overlap"] for one in plane.retrieval_trend("kb", "set")] == [1]


def test_queries_are_kept_only_where_it_is_configured(looked: Undrift, tmp_path: Path) -> None:
    with plane_of(tmp_path) as plane:
        alias = plane.alias("kb")
        alias.search("word1", k=3)
        assert plane.traffic_of("kb")._asked is None

    with (tmp_path / "undrift.toml").open("a") as file:
        file.write('\n[watch.queries]\nkeep = "vectors"\nlabels = ["lang"]\n')
    with plane_of(tmp_path) as plane:
        plane.alias("kb").search("word1", k=3, filter={"lang": "en"})
        asked = plane.traffic_of("kb")._asked
        assert asked is not None
        asked._next = 0.0
        asked.tell()
        (told,) = plane.ledger.observed("watch/queries/asked/kb")
    assert '"asked": 1' in told.text
    assert '"labels": [["lang=en"]]' in told.text
    assert '"texts": []' in told.text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nokb"], "the ledger knows no alias nokb"),
        (["kb", "--only", "weather"], "'weather' is not one of"),
        (["kb", "--accept", "foreign"], "'foreign' is not one of"),
    ],
)
def test_what_does_not_exist_is_refused(looked: Undrift, words: list[str], said: str) -> None:
    refused = looked("drift", *words)

    assert refused.code == 2
    assert said in refused.err


def test_an_unknown_golden_set_is_named(looked: Undrift, tmp_path: Path) -> None:
    with (tmp_path / "undrift.toml").open("a") as file:
        file.write('\n[watch.retrieval]\nsets = { kb = ["none"] }\n')

    refused = looked("drift", "kb", "--only", "retrieval")

    assert refused.code == 2
    assert "there is no golden set none" in refused.err
    (found,) = looked("watch", "--once", "retrieval", "--json").json["findings"]
    assert (found["state"], found["subject"]) == ("unknown", "kb")


def test_documents_that_were_all_alike_are_told_in_numbers_that_every_reader_takes(
    undrift: Undrift, tmp_path: Path
) -> None:
    """The distance in radii of a cloud that is one point is no number."""
    for first, text in ((0, "one text"), (300, "another text")):
        rows = [{"id": f"d{number}", "text": text} for number in range(first, first + 300)]
        write_lines(tmp_path / "same.jsonl", rows)
        undrift("put", "kb", "same.jsonl")
        told, value = undrift("drift", "kb", "--only", "documents"), undrift("drift", "kb", "--json")

    assert told.code == 3
    assert "the middle left a cloud without extent" in told.out
    assert not re.search("Infinity|NaN", value.out)
