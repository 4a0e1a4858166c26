"""The verbs about fine-tuned models, as a person gives them."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.unit.cli.running import Undrift
from tests.unit.cli.shapes import missing_keys
from tests.unit.control.trained import head, world
from undrift.cli.lineage_picture import drawn

pytest.importorskip("sqlite_vec")
pytest.importorskip("pytrec_eval")


@pytest.fixture
def trained(run: Undrift, tmp_path: Path) -> Undrift:
    """A collection with two heads, of which nothing is registered yet."""
    with world(tmp_path) as plane:
        for name, strength in (("tuned", 5.0), ("again", 6.0)):
            head(plane, tmp_path, name, strength)
    return run


def test_a_model_is_registered_compared_promoted_and_traced(trained: Undrift, tmp_path: Path) -> None:
    added = trained("model", "add", "tuned", "--from", "heads/tuned", "--data", "queries.jsonl", "--reason", "try")
    assert added.code == 0
    assert "hash    sha256-" in added.out
    assert "data    sha256-" in added.out
    again = trained("model", "add", "again", "--from", "heads/again", "--parent", "tuned", "--json")
    assert missing_keys("model add", again.json) == []
    assert missing_keys("model record", again.json["checkpoint"]) == []
    recorded = trained("model", "record", "again", "--recipe", "twice as long", "--json")
    assert recorded.json["recipe"] == "twice as long"

    refused = trained("model", "promote", "tuned", "--alias", "kb", "--reason", "better", "--dry-run")
    assert refused.code == 3
    assert "?   compared" in refused.out
    assert "undrift golden compare topics kb --model tuned" in refused.out

    compared = trained("golden", "compare", "topics", "kb", "--model", "tuned", "--json")
    assert missing_keys("golden compare", compared.json) == []
    told = trained("golden", "compare", "topics", "kb", "--model", "tuned").out
    assert "tuned is better (nDCG; p = " in told
    assert "topics on kb: 12 queries, 12 documents" in told

    promoted = trained("model", "promote", "tuned", "--alias", "kb", "--reason", "better", "--author", "ada", "--json")
    assert missing_keys("model promote", promoted.json) == []
    assert promoted.json["next_steps"][0] == "undrift start kb --to tuned"
    assert trained("start", "kb", "--to", "tuned").code == 0

    lineage = trained("model", "lineage", "--json")
    assert missing_keys("model lineage", lineage.json) == []
    tree = trained("model", "lineage").out.splitlines()
    assert tree[0] == "topics@1"
    assert tree[1].startswith("└─ tuned  sha256-")
    assert any("by ada to kb: better" in line for line in tree)
    assert any(line.startswith("   └─ again  sha256-") for line in tree)
    history = trained("model", "lineage", "tuned", "--history").out
    assert [line.split()[1] for line in history.splitlines()[1:]] == [
        *("checkpoint", "checkpoint", "checkpoint", "evaluation", "evaluation", "promotion")
    ]

    traced = trained("model", "trace", "kb", "doc03", "--json")
    assert missing_keys("model trace", traced.json) == []
    told = trained("model", "trace", "kb", "doc03").out
    assert "lineage  not recorded: undrift model record old" in told
    assert "trained from  topics@1" in told
    assert "promoted" in told

    assert trained("model", "retire", "tuned", "--reason", "no").code == 3
    retired = trained("model", "retire", "again", "--reason", "not needed", "--json")
    assert missing_keys("model retire", retired.json) == []
    assert trained("model", "retire", "old", "--reason", "no").code == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x"], "needs --provider or --from, one of them"),
        (["x", "--provider", "hashing", "--from", "heads/tuned"], "needs --provider or --from, one of them"),
        (["x", "--provider", "hashing", "--reason", "why"], "belongs to a model that is added with --from"),
        (["x", "--from", "heads"], "has no model that undrift can run"),
        (["x", "--from", "heads/tuned", "--data", "nothing.jsonl"], "training data nothing.jsonl cannot be read"),
        (["x", "--from", "mlflow:models:/tuned/latest"], "names no version of a model"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_model_that_cannot_be_is_not_registered(
    trained: Undrift, tmp_path: Path, words: list[str], message: str
) -> None:
    before = (tmp_path / "undrift.toml").read_bytes()
    refused = trained("model", "add", *words)
    assert refused.code == 2
    assert message in refused.err
    assert (tmp_path / "undrift.toml").read_bytes() == before
    assert trained("model", "lineage").out == "no checkpoint is recorded\n"


@pytest.mark.parametrize("verb", [["promote", "old", "--alias", "kb"], ["retire", "old"]], ids=lambda words: words[0])
def test_who_promotes_or_retires_says_why(trained: Undrift, verb: list[str]) -> None:
    refused = trained("model", *verb)
    assert refused.code == 2
    assert "--reason" in refused.err


def model(name: str, parent: str = "", **values: object) -> dict[str, object]:
    plain = {"model": name, "parent": parent, "base": "public <1>", "hash": "sha256-0", "serves": []}
    return {**plain, "evaluations": [], "retired": False, **values}


FAMILY = [model("a", serves=["kb"]), model('b"', "a"), model("c", "a", retired=True), model("d", base="")]


def test_a_picture_has_a_box_for_each_checkpoint_and_base_and_a_line_for_each_training() -> None:
    picture = ElementTree.fromstring(drawn(FAMILY, ".svg"))
    space = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in picture.iter(f"{space}text")]
    assert sorted(texts[::2], key=str) == ["a", 'b"', "base not known", "c", "d", "public <1>"]
    assert {"serves kb", "retired", "base"} <= set(texts)
    assert len(list(picture.iter(f"{space}path"))) == 4
    places = {(box.get("x"), box.get("y")) for box in picture.iter(f"{space}rect")}
    assert len(places) == 6


def test_graphviz_and_mermaid_name_the_same_trainings() -> None:
    dot, mermaid = drawn(FAMILY, ".dot"), drawn(FAMILY, ".mmd")
    assert dot.count(" -> ") == mermaid.count(" --> ") == 4
    assert 'label="b\\"\\nsha256-0"' in dot
    assert '["b#quot;<br>sha256-0"]' in mermaid or '["b&quot;<br>sha256-0"]' in mermaid
    assert "public &lt;1&gt;" in mermaid


@pytest.mark.parametrize("suffix", [".svg", ".dot", ".mmd"])
def test_nobody_is_drawn_too(suffix: str) -> None:
    assert drawn([], suffix)


def test_a_picture_is_written_into_a_file(trained: Undrift, tmp_path: Path) -> None:
    trained("model", "add", "tuned", "--from", "heads/tuned")
    assert trained("model", "lineage", "--picture", "l.svg").code == 0
    assert "tuned" in (tmp_path / "l.svg").read_text()
    refused = trained("model", "lineage", "--picture", "l.png")
    assert (refused.code, "ends in .png" in refused.err) == (2, True)
