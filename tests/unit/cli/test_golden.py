"""Golden sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.running import Undrift, write_lines
from tests.unit.cli.shapes import missing_keys


@pytest.fixture
def imported(ready: Undrift, tmp_path: Path) -> Undrift:
    pytest.importorskip("pytrec_eval")
    write_lines(tmp_path / "queries.jsonl", [{"id": f"q{n}", "text": f"document {n} about"} for n in range(5)])
    (tmp_path / "judged.tsv").write_text("".join(f"q{n}\td{n:03}\t1\n" for n in range(4)))
    made = ready("golden", "import", "set", "--queries", "queries.jsonl", "--judgements", "judged.tsv", "--json")
    assert made.code == 0
    assert missing_keys("golden import", made.json) == []
    assert (made.json["set"], made.json["queries"]) == ("set", 5)
    return ready


@pytest.mark.parametrize("field", ["serving", "follower"])
def test_a_golden_set_measures_a_field(imported: Undrift, field: str) -> None:
    told = imported("golden", "run", "set", "kb", "--field", field)
    value = imported("golden", "run", "set", "kb", "--field", field, "--json")

    assert told.code == value.code == 0
    assert missing_keys("golden run", value.json) == []
    assert value.json["space"] == imported("status", "kb", "--json").json[field]["space"]
    assert (value.json["queries"], value.json["unjudged"], value.json["k"]) == (4, 1, 10)
    assert 0 < value.json["ndcg_at_10"] <= 1
    assert "4 queries (1 without a relevant document left out)" in told.out
    assert "nDCG@10" in told.out


def test_k_is_what_is_asked_for(imported: Undrift) -> None:
    assert "recall_at_3" in imported("golden", "run", "set", "kb", "-k", "3", "--json").json


def test_golden_sets_are_listed(imported: Undrift, undrift: Undrift) -> None:
    assert missing_keys("golden list", imported("golden", "list", "--json").json) == []
    assert imported("golden", "list").out.splitlines()[1].split() == ["set", "5"]


def test_there_may_be_none(undrift: Undrift) -> None:
    assert undrift("golden", "list").out == "there is no golden set\n"
    assert undrift("golden", "list", "--json").json == []


@pytest.mark.parametrize(
    ("words", "kind"),
    [(["run", "other", "kb"], "BadArgument"), (["run", "set", "other"], "UnknownAlias")],
    ids=["unknown-set", "unknown-alias"],
)
def test_what_is_not_there_is_told(imported: Undrift, words: list[str], kind: str) -> None:
    refused = imported("golden", *words, "--json")

    assert (refused.code, refused.error["kind"]) == (2, kind)


def test_a_broken_line_is_named_and_the_set_is_kept_as_it_was(imported: Undrift, tmp_path: Path) -> None:
    (tmp_path / "judged.tsv").write_text("q0\td000\t1\nq0\td001\tgood\n")

    refused = imported("golden", "import", "set", "--queries", "queries.jsonl", "--judgements", "judged.tsv", "--json")

    assert (refused.code, refused.error["kind"]) == (2, "BadInputLine")
    assert "judged.tsv line 2" in refused.error["message"]
    assert imported("golden", "run", "set", "kb", "--json").json["queries"] == 4
