"""Golden sets: the formats that are told apart, what is refused, and what comes back from the ledger."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undrift.errors import BadArgument, BadInputLine
from undrift.flow.jsonl import open_lines, read_objects
from undrift.quality.golden import (
    MAX_GRADE,
    GoldenQuery,
    GoldenSet,
    parse_golden_set,
    parse_judgements,
    parse_queries,
)

KNOWN = ("q1", "q2", "q 3")
TREC = ["q1 0 d1 2\n", "q1 0 d2 0\n", "q2 0 d1 1\n"]
TSV = ["query_id\tdoc_id\trelevance\n", "q1\td1\t2\n", "q1\td2\t0\n", "q2\td1\t1\n"]
PARSED = {"q1": {"d1": 2, "d2": 0}, "q2": {"d1": 1}}


def judged(lines: Iterable[str]) -> dict[str, dict[str, int]]:
    return parse_judgements(lines, "qrels", known=KNOWN, known_from="queries.jsonl")


def refusal(*lines: str) -> BadInputLine:
    with pytest.raises(BadInputLine) as caught:
        judged(lines)
    return caught.value


@pytest.mark.parametrize(
    "lines",
    [
        TREC,
        [line.replace(" 0 ", "\t0\t").replace(" ", "\t") for line in TREC],
        [line.replace(" 0 ", "   Q0  ") for line in TREC],
        TSV,
        TSV[1:],
        [line.replace("\n", "\r\n") for line in TSV],
        ["\ufeff" + TSV[0], *TSV[1:]],
        ["\ufeff" + TREC[0], *TREC[1:]],
        ["\n", TSV[0], "  \n", *TSV[1:], "\n"],
        ["Query-ID\tcorpus-id\tscore\n", *TSV[1:]],
        ["relevance\tquery_id\tdoc_id\n", "2\tq1\td1\n", "0\tq1\td2\n", "1\tq2\td1"],
        [*TSV, TSV[1]],
    ],
    ids=[
        "TREC",
        "TREC with tabs",
        "TREC with an iteration and several spaces",
        "TSV",
        "TSV without header",
        "TSV with Windows line ends",
        "TSV behind a byte order mark",
        "TREC behind a byte order mark",
        "blank lines",
        "the header of BEIR",
        "columns in another order",
        "the same judgement twice",
    ],
)
def test_every_way_of_writing_judgements_says_the_same(lines: list[str]) -> None:
    assert judged(lines) == PARSED


def test_ids_with_spaces_in_them_are_taken_between_tabs() -> None:
    assert judged([TSV[0], "q 3\ta b\t1\n"]) == {"q 3": {"a b": 1}}
    assert judged(["q 3\ta b\t1\n"]) == {"q 3": {"a b": 1}}


def test_no_lines_are_no_judgements() -> None:
    assert judged([]) == {}
    assert judged(TSV[:1]) == {}


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ("q1\ta b\t1", "could be of two formats"),
        ("q1 d1 1", "is of no known format"),
        ("q1,d1,1", "is of no known format"),
        ("q1\td1", "is of no known format"),
        ("query\tdocument\tlabel", "is of no known format"),
        ("q1 0 d1 relevant", "is of no known format"),
        ("q1 0 d1 1 run", "is of no known format"),
        ('{"query": "q1"}', "is of no known format"),
    ],
)
def test_a_first_line_that_fits_no_format_or_two_is_refused_with_the_formats(line: str, state: str) -> None:
    error = refusal("\n", line)

    assert error.message.startswith(f"qrels line 2 {state}")
    assert error.detail == line.replace("\t", " ")
    assert "query_id, doc_id, relevance" in error.hint


def test_a_line_of_another_format_than_the_first_is_refused() -> None:
    assert refusal(*TREC, "q1\td9\t1").message == (
        "qrels line 4 has 3 columns, not four columns of TREC form as the first"
    )
    assert "line 5 has 1 columns, not three tab-separated columns" in refusal(*TSV, "q1 0 d9 1").message


@pytest.mark.parametrize("grade", ["1.0", "", "yes", "1_0", "٣", str(MAX_GRADE + 1), str(-MAX_GRADE - 1), "9" * 5000])
def test_a_grade_that_is_no_small_whole_number_is_refused(grade: str) -> None:
    error = refusal(*TSV, f"q2\td2\t{grade}")

    assert error.message.startswith("qrels line 5 has the relevance ")
    assert len(error.detail) <= 80


@pytest.mark.parametrize("grade", ["-1", "+1", " 1 ", str(MAX_GRADE), str(-MAX_GRADE)])
def test_grades_may_have_a_sign_and_go_to_the_limit(grade: str) -> None:
    assert judged([TSV[0], f"q1\td1\t{grade}"]) == {"q1": {"d1": int(grade)}}


def test_a_judgement_of_an_unknown_query_is_refused_naming_it() -> None:
    error = refusal(*TREC, "q7 0 d1 1")

    assert error.message == "qrels line 4 judges query 'q7', which queries.jsonl does not have"
    assert error.hint


def test_two_judgements_that_contradict_each_other_are_refused_with_both_lines() -> None:
    assert (
        refusal(*TSV, "q1\td1\t1").message == "qrels line 5 judges document 'd1' for query 'q1' as 1, line 2 otherwise"
    )


@pytest.mark.parametrize("document", ["", "a\x00b", "x" * 513])
def test_a_document_id_that_no_store_keeps_is_refused(document: str) -> None:
    assert refusal(*TSV, f"q1\t{document}\t1").message.startswith("qrels line 5: ")


@given(st.lists(st.text(), max_size=4))
def test_whatever_the_lines_they_are_parsed_or_refused_by_number(lines: list[str]) -> None:
    try:
        assert judged(lines) == {} or set(judged(lines)) <= set(KNOWN)
    except BadInputLine as caught:
        error = caught
    else:
        return
    assert error.message.startswith("qrels line ")
    assert error.detail.isprintable()


def test_queries_keep_their_order_and_other_keys_are_left_out() -> None:
    objects = [(1, {"id": "b", "text": "second?", "lang": "en"}), (4, {"id": "a", "text": "first?"})]

    assert list(parse_queries(objects, "queries").items()) == [("b", "second?"), ("a", "first?")]


@pytest.mark.parametrize("key", ["id", "text"])
@pytest.mark.parametrize("value", [None, 7, "", "  ", ["a"]])
def test_a_query_without_a_usable_id_or_text_is_refused(key: str, value: object) -> None:
    with pytest.raises(BadInputLine, match=f'queries line 3 has no "{key}"') as caught:
        parse_queries([(3, {"id": "q1", "text": "one?", key: value})], "queries")
    assert caught.value.hint


def test_a_query_id_that_comes_twice_is_refused_with_both_lines() -> None:
    one = {"id": "q1", "text": "one?"}

    with pytest.raises(BadInputLine, match="queries line 5 has the query id 'q1', as line 2 has"):
        parse_queries([(2, one), (5, one)], "queries")


def test_a_file_without_queries_is_refused() -> None:
    with pytest.raises(BadInputLine, match="queries has no queries in it"):
        parse_queries([], "queries")


def parsed(*judgements: str) -> GoldenSet:
    return parse_golden_set(
        "support",
        queries=[(1, {"id": "q1", "text": "one?"}), (2, {"id": "q2", "text": "two?"})],
        queries_name="queries",
        judgements=judgements,
        judgements_name="qrels",
    )


def test_queries_without_an_answer_stay_in_the_set_but_are_not_judged() -> None:
    golden = parsed("q1 0 d1 1", "q2 0 d1 0", "q2 0 d2 -1")

    assert [one.id for one in golden.queries] == ["q1", "q2"]
    assert [one.id for one in golden.judged] == ["q1"]


@pytest.mark.parametrize("lines", [[], ["q1 0 d1 0"]])
def test_a_set_of_which_nothing_could_be_measured_is_refused(lines: list[str]) -> None:
    with pytest.raises(BadInputLine, match="qrels names no relevant document for any query of queries"):
        parsed(*lines)


def test_a_grade_that_would_take_all_memory_is_refused_however_the_query_is_made() -> None:
    """trec_eval ends the process at a grade of a thousand million."""
    with pytest.raises(BadArgument, match="golden query 'q1' grades document 'd1' as 1000000000"):
        GoldenQuery(id="q1", text="one?", relevant={"d1": 10**9})


@given(
    st.builds(
        GoldenSet,
        name=st.text(),
        queries=st.lists(
            st.builds(
                GoldenQuery,
                id=st.text(),
                text=st.text(),
                relevant=st.dictionaries(st.text(), st.integers(-MAX_GRADE, MAX_GRADE)),
            )
        ).map(tuple),
    )
)
def test_a_set_comes_back_from_json_as_it_was(golden: GoldenSet) -> None:
    assert GoldenSet.from_dict(json.loads(json.dumps(golden.as_dict()))) == golden


@pytest.mark.parametrize(
    ("name", "queries", "judged_queries"), [("nfcorpus", 3237, 323), ("cacm", 64, 52), ("cosqa-dev", 500, 500)]
)
def test_real_sets_are_read_whole(shared_data: Path, name: str, queries: int, judged_queries: int) -> None:
    texts, judgements = shared_data / name / "queries.jsonl.gz", shared_data / name / "qrels.tsv.gz"
    with open_lines(texts) as text_lines, open_lines(judgements) as judgement_lines:
        golden = parse_golden_set(
            name,
            queries=read_objects(text_lines, str(texts)),
            queries_name=str(texts),
            judgements=judgement_lines,
            judgements_name=str(judgements),
        )

    assert (len(golden.queries), len(golden.judged)) == (queries, judged_queries)
