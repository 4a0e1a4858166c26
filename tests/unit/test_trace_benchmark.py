"""The trace benchmark: every recipe meets the same events, and the checker sees what is wrong and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.trace import published, table
from benchmarks.trace.checker import Answer, Score, Stored, compare, crosses_models, undone_by_rollback
from benchmarks.trace.corpora import standard_library_trace, tldr_trace
from benchmarks.trace.events import Crash, Delete, Merge, Moment, Put, Search, Text, Trace, Truth
from benchmarks.trace.models import NEW, OLD, Bill, Kept, kept_models
from benchmarks.trace.ours import Undrift
from benchmarks.trace.recipes import Script
from benchmarks.trace.stage import Stage
from benchmarks.trace.table import CONTESTANTS, play, rendered

SCRIPT, DUAL, TO_THE_END, WAITING, NAMED, OURS = CONTESTANTS


@pytest.fixture(scope="module")
def models() -> dict[str, Kept]:
    return kept_models()


@pytest.fixture(scope="module")
def trace() -> Trace:
    return standard_library_trace(3, documents=120, batch=20)


@pytest.fixture(scope="module")
def scores(trace: Trace, models: Mapping[str, Kept], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Score]:
    folder = tmp_path_factory.mktemp("trace")
    return {name: play(make, trace, models, folder) for name, make in CONTESTANTS.items()}


# What each contestant loses


@pytest.mark.long
def test_undrift_loses_nothing(scores: Mapping[str, Score]) -> None:
    assert set(scores[OURS].faults.values()) == {0}, scores[OURS]


@pytest.mark.long
def test_the_script_loses_all_that_can_be_lost(scores: Mapping[str, Score]) -> None:
    faults = scores[SCRIPT].faults
    assert {name for name, count in faults.items() if not count} == {"failed", "held_back"}


@pytest.mark.long
def test_dual_write_brings_deleted_documents_back_and_its_rollback_throws_writes_away(
    scores: Mapping[str, Score],
) -> None:
    assert scores[DUAL].resurrected
    assert scores[DUAL].stale
    assert scores[DUAL].undone
    assert scores[DUAL].lost == scores[DUAL].mixed == scores[DUAL].wrong_model == 0


@pytest.mark.long
def test_dual_write_to_the_end_keeps_the_writes_and_still_brings_documents_back(scores: Mapping[str, Score]) -> None:
    assert scores[TO_THE_END].undone == 0
    assert scores[TO_THE_END].resurrected == scores[DUAL].resurrected


@pytest.mark.long
def test_dual_write_without_deletes_copies_faithfully_and_makes_the_application_wait(
    scores: Mapping[str, Score],
) -> None:
    assert scores[WAITING].held_back
    assert scores[WAITING].resurrected == scores[WAITING].stale == scores[WAITING].lost == 0


@pytest.mark.long
def test_named_vectors_keep_vectors_of_older_texts_and_nothing_else(scores: Mapping[str, Score]) -> None:
    assert scores[NAMED].mixed
    assert scores[NAMED].lost == scores[NAMED].resurrected == scores[NAMED].stale == scores[NAMED].undone == 0


def test_undrift_meets_every_event_of_a_batch_while_it_holds_the_batch(
    trace: Trace, models: Mapping[str, Kept], tmp_path: Path
) -> None:
    stage = Stage(trace, models)
    contestant = Undrift(stage, models, tmp_path)
    met: list[tuple[Moment, str]] = []
    for moment, reached in ((Moment.READ, stage.read), (Moment.WRITE, stage.write)):
        setattr(stage, moment.name.lower(), _noting(met, moment, reached))
    try:
        stage.play(contestant)
    finally:
        contestant.close()

    assert stage.late == 0
    assert stage.happened == len(trace.events)
    # Every batch is read and then written; the one that was held at the crash twice.
    batches = len(trace.base) // trace.batch
    assert [moment for moment, _ in met] == [Moment.READ, Moment.WRITE] * (batches + 1)


def _noting(
    met: list[tuple[Moment, str]], moment: Moment, reached: Callable[[Sequence[str]], None]
) -> Callable[[Sequence[str]], None]:
    def note(ids: Sequence[str]) -> None:
        met.append((moment, ids[-1]))
        reached(ids)

    return note


# The checker sees what is planted


BASE = {f"d{number}": (f"text {number}", {"number": number}) for number in range(5)}


def embedded(texts: Sequence[str]) -> Any:
    """Return vectors of a made-up model."""
    rows = [[len(text), sum(map(ord, text)), ord(text[-1]), 1.0] for text in texts] or np.empty((0, 4))
    vectors = np.asarray(rows, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def other(texts: Sequence[str]) -> Any:
    """Return vectors of another made-up model."""
    return embedded(texts)[:, ::-1].copy()


def a_field(**changes: Stored | None) -> dict[str, Stored]:
    held = {
        id: Stored(text=text, metadata=metadata, vector=embedded([text])[0]) for id, (text, metadata) in BASE.items()
    }
    held.update({id: stored for id, stored in changes.items() if stored is not None})
    return {id: stored for id, stored in held.items() if id not in changes or changes[id] is not None}


def stored(text: str, number: int, *, of: str | None = None, model: Any = embedded) -> Stored:
    return Stored(text=text, metadata={"number": number}, vector=model([of or text])[0])


def test_a_faithful_field_has_no_findings() -> None:
    found = compare(BASE, a_field(), embedded)

    assert not found.wrong | found.mixed


@pytest.mark.parametrize(
    ("kind", "planted"),
    [
        pytest.param("lost", {"d1": None}, id="missing"),
        pytest.param("resurrected", {"d9": stored("text 9", 9)}, id="deleted-and-there"),
        pytest.param("stale", {"d1": stored("text of yesterday", 1)}, id="older-text"),
        pytest.param("stale", {"d1": stored("text 1", 7)}, id="older-metadata"),
        pytest.param("mixed", {"d1": stored("text 1", 1, of="text of yesterday")}, id="vector-of-an-older-text"),
        pytest.param("mixed", {"d1": stored("text 1", 1, model=other)}, id="vector-of-another-model"),
        pytest.param("mixed", {"d1": Stored(text="text 1", metadata={"number": 1}, vector=None)}, id="no-vector"),
    ],
)
def test_what_is_planted_in_a_field_is_found_and_nothing_else(kind: str, planted: dict[str, Stored | None]) -> None:
    found = compare(BASE, a_field(**planted), embedded)

    assert {item.name: getattr(found, item.name) for item in fields(found)} == {
        "lost": frozenset(),
        "resurrected": frozenset(),
        "stale": frozenset(),
        "mixed": frozenset(),
        kind: frozenset(planted),
    }


def test_a_write_that_a_rollback_threw_back_is_told_from_one_that_was_lost_before() -> None:
    found = compare(BASE, a_field(d1=None, d2=stored("text of yesterday", 2)), embedded)

    assert undone_by_rollback(found, {"d1": Moment.READ, "d2": Moment.AFTER}) == {"d2"}


@pytest.mark.parametrize(
    ("query", "field", "crossed"),
    [(embedded, embedded, False), (other, other, False), (embedded, other, True), (other, embedded, True)],
    ids=["old-in-old", "new-in-new", "old-in-new", "new-in-old"],
)
def test_a_score_tells_whether_it_compares_two_models(query: Any, field: Any, crossed: bool) -> None:
    texts = [text for text, _ in BASE.values()]
    scored = [Answer(text=text, score=float(query(["a question"])[0] @ field([text])[0])) for text in texts]

    assert crosses_models("a question", scored, [embedded, other]) is crossed


def test_tokens_are_paid_twice_only_when_a_document_is_embedded_again(models: Mapping[str, Kept]) -> None:
    bill = Bill(models)
    before = {"one": 1, "shared by two": 2, "never again": 1, "gone and back": 1}
    after = {**before, "gone and back": 2}
    with bill.of("first"):
        bill.vectors(NEW, ["one", "one", "shared by two", "never again", "gone and back"])
        bill.vectors(OLD, ["one"])
    with bill.of("second"):
        bill.vectors(NEW, ["one", "shared by two", "gone and back", "a probe, which is no document"])

    assert bill.tokens_again("first", "second", before=before, after=after) == models[NEW].tokens("one") > 0


class Sabotaged(Undrift):
    """undrift, and somebody who does what it never does."""

    def contents(self) -> dict[str, Stored]:
        """Show a field in which one document each is lost, back, old, and beside a foreign vector."""
        held = super().contents()
        calm = [id for id in sorted(held) if held[id].metadata.keys() == {"module", "kind"}]
        lost, stale, mixed = calm[:3]
        held["came.back"] = held.pop(lost)
        old = held[stale]
        held[stale] = Stored(text=old.text, metadata={}, vector=old.vector)
        held[mixed] = Stored(text=held[mixed].text, metadata=held[mixed].metadata, vector=old.vector)
        return held

    def search(self, process: int, question: str) -> list[Answer]:
        """Compare questions of one model with documents of the other."""
        answers = super().search(process, question)
        asked = self._models[OLD].embed_query(question)
        return [
            Answer(text=answer.text, score=float(asked @ self._models[NEW].embed_query(answer.text)))
            for answer in answers
        ]

    def delete(self, process: int, id: str) -> None:
        """Refuse to delete."""
        raise RuntimeError(f"{id} stays")


def test_undrift_that_does_wrong_is_told_so(trace: Trace, models: Mapping[str, Kept], tmp_path: Path) -> None:
    score = play(Sabotaged, trace, models, tmp_path)

    searches = sum(isinstance(event.action, Search) for event in trace.events)
    deletes = sum(isinstance(event.action, Delete) for event in trace.events)
    assert (score.lost, score.resurrected, score.stale, score.mixed) == (1, 1, 1, 1)
    assert (score.wrong_model, score.failed) == (searches, deletes)


class Spared(Script):
    """A script that dies without the trace hearing of it, and so is never killed."""

    def backfill(self) -> None:
        """Copy nothing."""
        self.points.recreate("docs_v2")


def test_who_is_spared_a_part_of_the_trace_has_no_score(
    trace: Trace, models: Mapping[str, Kept], tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="0 deaths"):
        play(lambda stage, _models, _folder: Spared(stage), trace, models, tmp_path)


# The trace


def test_a_seed_gives_the_same_trace_and_another_one_another(trace: Trace) -> None:
    assert standard_library_trace(3, documents=120, batch=20) == trace
    assert standard_library_trace(4, documents=120, batch=20).events != trace.events


def test_a_trace_has_every_kind_of_event_at_every_moment(trace: Trace) -> None:
    for moment in Moment:
        kinds = {type(event.action) for event in trace.of(moment)}
        assert kinds - {Crash} == {Put, Delete, Merge, Search}, moment
    assert [event.moment for event in trace.events if isinstance(event.action, Crash)] == [Moment.WRITE]
    assert {event.process for event in trace.events} == {0, 1}


def test_a_text_that_comes_back_needs_a_vector_of_its_own() -> None:
    truth = Truth((Text(id="a", text="one"), Text(id="b", text="one")))

    for action in (*map(put, ["one", "two", "one", "one"]), Delete(id="a"), put("one")):
        truth.apply(action, Moment.READ)

    assert truth.needed == {"one": 4, "two": 1}


def put(text: str) -> Put:
    return Put(document=Text(id="a", text=text))


def test_the_truth_is_the_last_acknowledged_write() -> None:
    truth = Truth((Text(id="a", text="one", metadata={"x": 1}), Text(id="b", text="two")))

    truth.apply(Merge(id="a", changes={"y": 2}), Moment.READ)
    truth.apply(Put(document=Text(id="b", text="three")), Moment.AFTER)
    truth.apply(Delete(id="c"), Moment.AFTER)
    truth.apply(Merge(id="c", changes={"y": 2}), Moment.BACK)

    assert truth.documents == {"a": ("one", {"x": 1, "y": 2}), "b": ("three", {})}
    assert truth.written == {"a": Moment.READ, "b": Moment.AFTER, "c": Moment.AFTER}


def test_the_real_changes_are_played_in_their_order(shared_data: Path) -> None:
    found = tldr_trace(0, folder=shared_data / "tldr-updates")

    assert found is not None
    put = [event.action.document for event in found.events if isinstance(event.action, Put)]
    assert len(found.base) == 5508
    assert len(put) == 7843 + 1391
    assert sum(isinstance(event.action, Delete) for event in found.events) == 137


def test_without_the_real_changes_the_table_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "CONTESTANTS", {})
    monkeypatch.setattr(table, "fetch", _nothing_to_fetch)
    monkeypatch.setattr(table, "tldr_trace", lambda seed: tldr_trace(seed, folder=tmp_path / "not there"))

    said = table.measure(tmp_path, table.Size(made_up=0, real=1))

    assert "tldr pages: not here" in said


# The table


def _nothing_to_fetch(folder: Path) -> Any:
    raise published.NotAvailable("there is no network")


def a_score(**counts: int) -> Score:
    return Score(**{item.name: 0 for item in fields(Score)} | counts)  # type: ignore[arg-type]


def test_the_table_has_sums_and_ranges_and_says_who_could_not_be_had() -> None:
    said = rendered({"a": [a_score(lost=2), a_score(lost=5)], "e": [a_score(), a_score()]}, {"d": "no network"})

    head, first, absent, last = (re.split("  +", line) for line in said.splitlines())
    assert "lost" in head
    assert "7 (2-5)" in first
    assert "not available here: no network" in absent
    assert {cell.strip() for cell in last[1:]} - {""} == {"0"}


def test_a_package_that_cannot_be_had_is_a_row_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requirement = tmp_path / "nothing.txt"
    requirement.write_text("vectormigrate==1.0.1 --hash=sha256:" + "0" * 64 + "\n")
    monkeypatch.setattr(published, "REQUIREMENT", requirement)
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    with pytest.raises(published.NotAvailable):
        published.fetch(tmp_path)

    assert not (tmp_path / "vectormigrate").exists()


def test_the_benchmarks_know_the_trace(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = []
    monkeypatch.setattr(table, "measure", lambda folder, size: sizes.append(size) or "the table")

    assert main(["trace", "--quick"]) == 0

    assert sizes == [table.QUICK]
    assert "the table" in capsys.readouterr().out
