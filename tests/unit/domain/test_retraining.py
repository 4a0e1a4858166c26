"""When a model is due to be trained again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from undrift.domain.finding import Finding, Severity, State
from undrift.domain.retraining import RetrainPolicy, advise, finding_of

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def found(
    check: str, days_ago: float = 0, *, state: State = State.BAD, severity: Severity = Severity.WARNING, of: str = "kb"
) -> Finding:
    return Finding(
        check=check,
        subject=of,
        state=state,
        severity=severity,
        moment=NOW - timedelta(days=days_ago),
        words=f"{check} of {of} moved",
    )


def is_due(*findings: Finding, trained: datetime | None = None, policy: RetrainPolicy | None = None) -> bool:
    return advise(findings, subjects=["kb", "tuned"], now=NOW, trained=trained, policy=policy).due


def test_worse_answers_are_enough_by_themselves() -> None:
    advice = advise([found("retrieval")], subjects=["kb"], now=NOW)
    assert advice.due
    assert advice.reasons == ("retrieval of kb moved",)


@pytest.mark.parametrize("check", ["documents", "queries"])
def test_moved_data_is_enough_when_it_lasts(check: str) -> None:
    assert not is_due(found(check))
    assert not is_due(found(check, 2), found(check))
    assert is_due(found(check, 4), found(check, 2), found(check))


def test_moved_data_that_came_back_in_between_begins_again() -> None:
    assert not is_due(found("queries", 6), found("queries", 2, state=State.GOOD), found("queries", 1), found("queries"))


def test_a_look_that_could_not_see_neither_ends_nor_proves_anything() -> None:
    blind = found("queries", 2, state=State.UNKNOWN)
    assert is_due(found("queries", 4), blind, found("queries"))
    assert not is_due(found("queries", 4, state=State.UNKNOWN), found("queries", state=State.UNKNOWN))


@pytest.mark.parametrize("doubt", ["probe", "foreign"])
def test_nothing_is_concluded_while_the_model_itself_is_in_doubt(doubt: str) -> None:
    advice = advise([found("retrieval"), found(doubt)], subjects=["kb"], now=NOW)
    assert not advice.due
    assert advice.words == f"first the model of kb: {doubt} of kb moved"
    assert is_due(found("retrieval"), found(doubt, 1), found(doubt, state=State.GOOD))


def test_a_model_in_doubt_is_a_doubt_about_its_alias_and_a_part_of_an_alias_speaks_for_it() -> None:
    assert not is_due(found("retrieval"), found("probe", of="tuned"))
    assert is_due(found("retrieval"), found("probe", of="another"))
    assert is_due(found("retrieval", of="kb/support"))
    assert not is_due(found("retrieval", of="kb2"))
    german = [found("queries", days, of="kb/de") for days in (4, 0)]
    assert is_due(*german, found("queries", of="kb/en", state=State.GOOD))


def test_what_was_trained_lately_has_time_to_show_itself() -> None:
    advice = advise([found("retrieval")], subjects=["kb", "tuned"], now=NOW, trained=NOW - timedelta(days=5))
    assert (advice.due, advice.reasons) == (False, ("retrieval of kb moved",))
    assert "trained 5 days ago" in advice.words
    assert is_due(found("retrieval"), trained=NOW - timedelta(days=15))


def test_old_mild_and_strange_findings_do_not_count() -> None:
    assert not is_due(found("retrieval", 3))
    assert not is_due(found("retrieval", severity=Severity.INFO))
    assert is_due(found("retrieval", severity=Severity.INFO), policy=RetrainPolicy(at_least=Severity.INFO))
    assert not is_due(found("retrieval", of="another"))
    assert not is_due(found("sunset"))
    assert not is_due(found("retrieval", -1))


def test_that_nobody_looked_is_said() -> None:
    assert "nobody has looked at kb lately" in advise([], subjects=["kb"], now=NOW).words
    assert "nothing speaks for" in advise([found("queries", state=State.GOOD)], subjects=["kb"], now=NOW).words


def test_the_advice_is_a_finding_that_resolves_itself() -> None:
    due = finding_of(advise([found("retrieval")], subjects=["kb"], now=NOW), subject="kb", now=NOW)
    over = finding_of(advise([], subjects=["kb"], now=NOW), subject="kb", now=NOW)
    assert (due.state, over.state) == (State.BAD, State.GOOD)
    assert due.key == over.key == "retrain/kb"
    assert "undrift model promote NAME --alias kb" in due.hint
    assert Finding.from_dict(due.as_dict()) == due
