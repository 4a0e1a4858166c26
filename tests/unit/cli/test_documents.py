"""put, get, delete, search, export."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tests.unit.cli.running import Undrift, write_lines
from tests.unit.cli.shapes import missing_keys


def ids_of(undrift: Undrift, *words: str) -> list[str]:
    exported = undrift("export", "kb", *words)
    assert exported.code == 0
    return [json.loads(line)["id"] for line in exported.out.splitlines()]


def test_documents_are_put_and_replaced(undrift: Undrift, tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", [{"id": "1", "text": "one"}, {"id": "2", "text": "two"}])
    write_lines(tmp_path / "b.jsonl", [{"id": "2", "text": "zwei", "metadata": {"lang": "de"}}])

    first, second = undrift("put", "kb", "a.jsonl", "--json"), undrift("put", "kb", "b.jsonl")

    assert first.json == {"alias": "kb", "written": 2, "epoch": 1}
    assert missing_keys("put", first.json) == []
    assert second.out == "put 1 document into kb (epoch 1)\n"
    assert json.loads(undrift("get", "kb", "2").out) == {"id": "2", "text": "zwei", "metadata": {"lang": "de"}}


def test_a_file_may_replace_what_matches_a_filter(undrift: Undrift, tmp_path: Path) -> None:
    old = [{"id": f"a{number}", "text": f"chunk {number}", "metadata": {"source": "a"}} for number in range(3)]
    write_lines(tmp_path / "a.jsonl", [*old, {"id": "b", "text": "another", "metadata": {"source": "b"}}])
    write_lines(tmp_path / "new.jsonl", [{"id": "a0", "text": "all of it", "metadata": {"source": "a"}}])
    undrift("put", "kb", "a.jsonl")

    told = undrift("put", "kb", "new.jsonl", "--replacing", '{"source": "a"}')
    again = undrift("put", "kb", "new.jsonl", "--replacing", '{"source": "a"}', "--json")
    refused = undrift("put", "kb", "new.jsonl", "--replacing", '{"source": "b"}', "--json")

    assert told.out == "put 1 document into kb and deleted 2 (epoch 1)\n"
    assert again.json == {"alias": "kb", "written": 1, "deleted": 0, "epoch": 1}
    assert (refused.code, refused.error["kind"]) == (2, "BadDocument")
    assert ids_of(undrift) == ["a0", "b"]


def test_documents_may_be_compressed_or_piped_in(undrift: Undrift, tmp_path: Path) -> None:
    line = b'{"id": "1", "text": "one"}\n'
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(line))

    assert undrift("put", "kb", "a.jsonl.gz").code == 0
    assert undrift("put", "kb", "-", stdin=line.replace(b"1", b"2")).code == 0
    assert undrift("put", "kb", "-", stdin=gzip.compress(line.replace(b"1", b"3"))).code == 0
    assert ids_of(undrift) == ["1", "2", "3"]


BROKEN = [
    ('{"id": "2", "te\n', "line 2 is not JSON", "BadInputLine"),
    ('{"id": "2", "te', "line 2 is not JSON", "BadInputLine"),
    ("[1]\n", "line 2 is not a JSON object", "BadInputLine"),
    ('{"text": "two"}\n', 'line 2 has no "id"', "BadInputLine"),
    ('{"id": "2", "text": ""}\n', "line 2: document '2' has no text", "BadDocument"),
    ('{"id": "2", "text": " \\n"}\n', "line 2: document '2' has a blank text", "BadDocument"),
    ('{"id": "1", "text": "again"}\n', "line 2 has the id '1', as line 1 has", "BadDocument"),
    ('{"id": "2", "text": "two", "metadata": {"x": NaN}}\n', "line 2 cannot be taken", "BadInputLine"),
]


@pytest.mark.parametrize("piped", [False, True], ids=["file", "stdin"])
@pytest.mark.parametrize(("line", "message", "kind"), BROKEN, ids=[message for _, message, _ in BROKEN])
def test_a_broken_line_is_named_and_nothing_is_written(
    undrift: Undrift, tmp_path: Path, line: str, message: str, kind: str, *, piped: bool
) -> None:
    text = '{"id": "1", "text": "one"}\n' + line
    (tmp_path / "broken.jsonl").write_text(text)

    refused = undrift("put", "kb", "-" if piped else "broken.jsonl", "--json", stdin=text.encode())

    assert refused.code == 2
    assert refused.error["kind"] == kind
    assert refused.error["message"].startswith("standard input " if piped else "broken.jsonl ")
    assert message in refused.error["message"]
    assert ids_of(undrift) == []


def test_a_file_that_is_not_there_is_named(undrift: Undrift) -> None:
    refused = undrift("put", "kb", "missing.jsonl", "--json")

    assert (refused.code, refused.error["kind"]) == (2, "BadArgument")
    assert "missing.jsonl" in refused.error["message"]


@pytest.mark.parametrize(
    "words",
    [
        ["put", "other", "-"],
        ["get", "other", "1"],
        ["delete", "other", "1"],
        ["search", "other", "x"],
        ["export", "other"],
    ],
)
def test_an_unknown_alias_is_told_with_those_there_are(undrift: Undrift, words: list[str]) -> None:
    refused = undrift(*words, "--json", stdin=b'{"id": "1", "text": "one"}\n')

    assert (refused.code, refused.error["kind"]) == (2, "UnknownAlias")
    assert refused.error["detail"] == "known are: kb"


def test_get_writes_what_is_there_and_tells_what_is_not(filled: Undrift) -> None:
    told, value = (
        filled("get", "kb", "d007", "nobody", "d001"),
        filled("get", "kb", "d007", "nobody", "nobody", "--json"),
    )

    assert told.code == value.code == 0
    assert [json.loads(line)["id"] for line in told.out.splitlines()] == ["d007", "d001"]
    assert told.err == "not in kb: nobody\n"
    assert missing_keys("get", value.json) == []
    assert value.json["missing"] == ["nobody"]
    assert value.json["documents"][0]["metadata"] == {"topic": "dogs", "number": 7}


def test_documents_are_deleted_by_id(filled: Undrift) -> None:
    told, value = filled("delete", "kb", "d001", "nobody"), filled("delete", "kb", "d002", "d002", "nobody", "--json")

    assert told.code == value.code == 0
    assert told.out == "deleted 1 document from kb (epoch 1)\n"
    assert told.err == "not in kb: nobody\n"
    assert missing_keys("delete", value.json) == []
    assert (value.json["deleted"], value.json["missing"]) == (["d002"], ["nobody"])
    assert {"d001", "d002"}.isdisjoint(ids_of(filled))


def test_documents_are_deleted_by_filter(filled: Undrift) -> None:
    deleted = filled("delete", "kb", "--filter", '{"topic": "cats"}', "--json")

    assert len(deleted.json["deleted"]) == 100
    assert len(ids_of(filled)) == 200


def test_deleting_everything_wants_a_yes(filled: Undrift) -> None:
    refused = filled("delete", "kb", "--filter", "{}", "--json")
    assert refused.code == 3
    assert refused.error["kind"] == "NotConfirmed"
    assert "all 300 documents" in refused.error["detail"]
    assert filled("delete", "kb", "--filter", "{}", typed="n\n").code == 3
    assert len(ids_of(filled)) == 300

    assert filled("delete", "kb", "--filter", "{}", typed="y\n").code == 0
    assert ids_of(filled) == []
    assert filled("delete", "kb", "--filter", "{}", "--yes").code == 0


@pytest.mark.parametrize("words", [[], ["d001", "--filter", '{"topic": "cats"}']], ids=["neither", "both"])
def test_delete_takes_ids_or_a_filter(filled: Undrift, words: list[str]) -> None:
    assert filled("delete", "kb", *words, "--json").error["kind"] == "BadArgument"
    assert len(ids_of(filled)) == 300


BAD_FILTERS = ["{", "[1]", '"x"', '{"topic": {"$like": "c"}}', '{"topic": ["cats"]}', '{"$nor": []}']


@pytest.mark.parametrize("condition", BAD_FILTERS)
@pytest.mark.parametrize("verb", [["search", "kb", "x"], ["delete", "kb"]], ids=["search", "delete"])
def test_a_wrong_filter_is_explained(filled: Undrift, verb: list[str], condition: str) -> None:
    refused = filled(*verb, "--filter", condition, "--json")

    assert (refused.code, refused.error["kind"]) == (2, "BadFilter")
    assert len(ids_of(filled)) == 300


def test_search_answers_with_the_nearest_first(filled: Undrift) -> None:
    value = filled("search", "kb", "document 42 about cats", "-k", "3", "--json").json
    told = filled("search", "kb", "document 42 about cats", "-k", "3")

    assert missing_keys("search", value) == []
    assert value["hits"][0]["id"] == "d042"
    assert [hit["score"] for hit in value["hits"]] == sorted((hit["score"] for hit in value["hits"]), reverse=True)
    assert len(told.out.splitlines()) == 3
    assert told.out.splitlines()[0].split()[1] == "d042"
    assert told.err == ""


def test_search_obeys_a_filter(filled: Undrift) -> None:
    hits = filled("search", "kb", "document 42 about cats", "--filter", '{"topic": "ships"}', "--json").json["hits"]

    assert {hit["metadata"]["topic"] for hit in hits} == {"ships"}
    nothing = filled("search", "kb", "x", "--filter", '{"topic": "planes"}')
    assert (nothing.code, nothing.out) == (0, "nothing found in kb\n")


def test_a_blank_search_is_refused(filled: Undrift) -> None:
    assert filled("search", "kb", "  ", "--json").code == 2


def test_an_export_can_be_put_in_again(filled: Undrift, tmp_path: Path) -> None:
    exported = filled("export", "kb", "--vectors")
    lines = exported.out.splitlines()
    (tmp_path / "again.jsonl").write_text(exported.out)

    assert exported.err == "exported 300 documents of kb\n"
    assert missing_keys("export", json.loads(lines[0])) == []
    assert len(json.loads(lines[0])["vector"]) == 32
    assert filled("export", "kb", "--json").out == filled("export", "kb").out
    assert "vector" not in json.loads(filled("export", "kb").out.splitlines()[0])
    assert filled("put", "kb", "again.jsonl").code == 0
    assert filled("export", "kb", "--vectors").out == exported.out


def test_only_a_migration_has_a_follower_to_export(filled: Undrift) -> None:
    refused = filled("export", "kb", "--field", "follower", "--json")
    assert (refused.code, refused.error["kind"]) == (2, "BadArgument")

    assert filled("start", "kb", "--to", "new").code == 0
    assert ids_of(filled, "--field", "follower") == ids_of(filled)


def test_a_search_under_a_name_of_domains_says_which_alias_answered(filled: Undrift, tmp_path: Path) -> None:
    with (tmp_path / "undrift.toml").open("a") as file:
        file.write('\n[domains.help]\naliases = { pets = "kb" }\n')

    found = filled("search", "help", "cats", "--domain", "pets", "-k", "2", "--json")

    assert (found.json["alias"], len(found.json["hits"])) == ("kb", 2)
    refused = filled("search", "help", "cats", "--domain", "law")
    assert (refused.code, "no domain 'law'" in refused.err) == (2, True)
