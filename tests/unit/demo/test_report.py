from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from undrift.demo.answers import Answers
from undrift.demo.check import Findings
from undrift.demo.history import Delete, Histories, Merge, Operation, Outcome, Put, Search
from undrift.demo.report import FAULTS, is_faultless, result
from undrift.domain.migration import Migration, MigrationId
from undrift.domain.route import AliasName, VectorField
from undrift.domain.space import SpaceId

FIELD = VectorField(store="main", collection="kb", space=SpaceId("s"))
MIGRATION = Migration(
    id=MigrationId("m"),
    alias=AliasName("kb"),
    source=FIELD,
    target=FIELD,
    target_model="new",
    tokens=1234,
    started=datetime(2026, 1, 1, tzinfo=UTC),
)
ACTS = [("load", 0.0), ("back-fill", 10.0), ("check", 30.5), ("count", 40.0)]
MEASURES = ({"ndcg_at_10": 0.1, "recall_at_10": 0.2}, {"ndcg_at_10": 0.3, "recall_at_10": 0.4})


def operation(outcome: Outcome, **effects: Any) -> Operation:
    return Operation(actor="one", effects=effects, began=1, ended=2, outcome=outcome)


def search(began: float, seconds: float, outcome: Outcome = Outcome.ACKNOWLEDGED) -> Search:
    return Search(actor="one", question="?", began=began, ended=began + seconds, outcome=outcome)


def counted(**changed: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "loaded": 10,
        "documents": 12,
        "histories": Histories(),
        "answers": Answers(searches=0, failed=0, wrong_space=0),
        "findings": Findings(checked=13),
        "kills": 1,
        "quality": MEASURES,
        "migration": MIGRATION,
        "acts": ACTS,
    }
    return result(**{**values, **changed})


def test_the_result_has_the_documented_keys() -> None:
    documented = {
        *("documents", "searches", "failed_searches", "writes", "deletes", "kills", "lost", "resurrected", "stale"),
        *("mixed", "wrong_space_answers", "ndcg_at_10", "tokens"),
    }

    assert documented <= counted().keys()


def test_documents_written_and_deleted_are_counted_when_they_were_acknowledged() -> None:
    put, merge = Put(text="x", metadata={}), Merge(changes={})
    told = counted(
        histories=Histories(
            operations=[
                operation(Outcome.ACKNOWLEDGED, a=put, b=put),
                operation(Outcome.ACKNOWLEDGED, a=merge),
                operation(Outcome.ACKNOWLEDGED, a=Delete(), b=Delete(), c=Delete()),
                operation(Outcome.UNKNOWN, a=put),
                operation(Outcome.FAILED, a=Delete()),
            ]
        )
    )

    assert (told["writes"], told["deletes"]) == (3, 3)
    assert (told["repeated_writes"], told["unknown_outcomes"]) == (2, 1)


def test_quality_is_told_before_and_after() -> None:
    assert counted()["ndcg_at_10"] == {"before": 0.1, "after": 0.3}
    assert counted()["recall_at_10"] == {"before": 0.2, "after": 0.4}


def test_a_corpus_without_questions_has_no_quality() -> None:
    assert counted(quality=(None, None))["ndcg_at_10"] == {"before": None, "after": None}


def test_each_fault_is_counted_and_some_documents_are_named() -> None:
    told = counted(
        answers=Answers(searches=9, failed=1, wrong_space=2),
        findings=Findings(
            checked=20,
            lost=frozenset("abcdefg"),
            resurrected=frozenset("hij"),
            stale=frozenset("kl"),
            mixed=frozenset("m"),
        ),
    )

    assert {fault: told[fault] for fault in FAULTS} == {
        "failed_searches": 1,
        "lost": 7,
        "resurrected": 3,
        "stale": 2,
        "mixed": 1,
        "wrong_space_answers": 2,
    }
    assert told["examples"]["lost"] == ["a", "b", "c", "d", "e"]
    assert not is_faultless(told)


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_of_any_kind_is_one_too_many(fault: str) -> None:
    assert is_faultless(counted())
    assert not is_faultless({**counted(), fault: 1})


def test_searches_are_timed_before_and_during_the_migration() -> None:
    searches = [
        *(search(began, 0.010) for began in range(9)),
        *(search(20 + began, 0.020) for began in range(9)),
        search(9.99, 5.0),
        search(25.0, 9.0, Outcome.FAILED),
    ]

    told = counted(histories=Histories(searches=searches))["search_ms"]

    assert told == {"before": {"p50": 10.0, "p99": 10.0}, "during": {"p50": 20.0, "p99": 20.0}}


def test_where_nobody_searched_there_are_no_times() -> None:
    assert counted()["search_ms"]["before"] == {"p50": None, "p99": None}


def test_the_acts_are_timed() -> None:
    assert counted()["acts"] == [
        {"act": "load", "seconds": 10.0},
        {"act": "back-fill", "seconds": 20.5},
        {"act": "check", "seconds": 9.5},
    ]
