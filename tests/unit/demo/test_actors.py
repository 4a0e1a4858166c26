from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from undrift.demo import actors
from undrift.demo.actors import Deleter, Performer, Writer
from undrift.demo.history import Delete, Effect, Histories, History, Merge, Outcome, Put, read
from undrift.demo.script import Role, Script
from undrift.domain.record import Hit, Hits, tag_from_stored
from undrift.domain.space import SpaceId
from undrift.errors import (
    BadDocument,
    ControlUnavailable,
    LeaseLost,
    OutcomeUnknown,
    StoreUnavailable,
    UndriftError,
    WriteTimeout,
)
from undrift.telemetry import Metric, count


class StubAlias:
    """Does what it is told to do: raises what it was given, one after the other, and then succeeds."""

    def __init__(self, *errors: UndriftError, hits: Hits | None = None) -> None:
        self.errors = list(errors)
        self.calls: list[tuple[str, Any]] = []
        self.hits = hits
        self.dropped = 0

    def upsert(self, documents: Sequence[Any]) -> None:
        self._called("upsert", [(one.id, one.text, dict(one.metadata)) for one in documents])

    def update_metadata(self, id: str, changes: dict[str, Any]) -> None:
        self._called("update_metadata", (id, dict(changes)))

    def delete(self, ids: Sequence[str]) -> None:
        self._called("delete", list(ids))

    def search(self, text: str, k: int) -> Hits:
        self._called("search", text)
        count(Metric.MIS_TAGGED_HITS, self.dropped)
        assert self.hits is not None
        return self.hits

    def _called(self, name: str, what: Any) -> None:
        self.calls.append((name, what))
        if self.errors:
            raise self.errors.pop(0)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors, "time", SimpleNamespace(sleep=lambda _: None))


def performed(folder: Path, alias: StubAlias, *acts: Any) -> Histories:
    with History(folder / "actor.jsonl") as history:
        performer = Performer(alias, history)  # type: ignore[arg-type]
        for act in acts:
            performer.search(act) if isinstance(act, str) else performer.change(act)
    return read(folder)


def outcomes(told: Histories) -> list[Outcome]:
    return [operation.outcome for operation in told.operations]


def test_every_kind_of_change_reaches_the_alias_as_it_is_written_down(tmp_path: Path) -> None:
    alias = StubAlias()
    changes: list[dict[str, Effect]] = [
        {"a": Put(text="x", metadata={"n": 1}), "b": Put(text="y", metadata={})},
        {"a": Merge(changes={"m": 2})},
        {"a": Delete(), "b": Delete()},
    ]

    told = performed(tmp_path, alias, *changes)

    assert alias.calls == [
        ("upsert", [("a", "x", {"n": 1}), ("b", "y", {})]),
        ("update_metadata", ("a", {"m": 2})),
        ("delete", ["a", "b"]),
    ]
    assert [dict(operation.effects) for operation in told.operations] == changes
    assert outcomes(told) == [Outcome.ACKNOWLEDGED] * 3


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (OutcomeUnknown("nobody knows"), Outcome.UNKNOWN),
        (StoreUnavailable("no answer"), Outcome.UNKNOWN),
        (LeaseLost("too late"), Outcome.UNKNOWN),
        (WriteTimeout("not yet"), Outcome.FAILED),
        (ControlUnavailable("no ledger"), Outcome.FAILED),
    ],
)
def test_a_write_that_fails_for_a_while_is_repeated_and_each_try_is_written_down(
    tmp_path: Path, error: UndriftError, outcome: Outcome
) -> None:
    alias = StubAlias(error, error)

    told = performed(tmp_path, alias, {"a": Delete()})

    assert alias.calls == [("delete", ["a"])] * 3
    assert outcomes(told) == [outcome, outcome, Outcome.ACKNOWLEDGED]


def test_a_write_that_will_never_succeed_ends_the_actor(tmp_path: Path) -> None:
    with pytest.raises(BadDocument):
        performed(tmp_path, StubAlias(BadDocument("wrong")), {"a": Delete()})

    assert outcomes(read(tmp_path)) == [Outcome.UNKNOWN]


def test_a_write_that_never_succeeds_is_not_repeated_for_ever(tmp_path: Path) -> None:
    with pytest.raises(OutcomeUnknown):
        performed(tmp_path, StubAlias(*[OutcomeUnknown("nobody knows")] * 1000), {"a": Delete()})


def hits(*spaces: str | None) -> Hits:
    tags = [None if space is None else tag_from_stored(space, "hash", 1) for space in spaces]
    found = [Hit(id=str(n), score=0.5 - n / 10, text=f"text {n}", metadata={}, tag=tag) for n, tag in enumerate(tags)]
    return Hits(hits=tuple(found), space=SpaceId("s"), epoch=4)


def test_the_answer_of_a_search_is_written_down(tmp_path: Path) -> None:
    (told,) = performed(tmp_path, StubAlias(hits=hits("s", "other", None)), "where?").searches

    assert (told.outcome, told.question, told.space, told.epoch) == (Outcome.ACKNOWLEDGED, "where?", "s", 4)
    assert (list(told.spaces), told.nearest, told.score, told.dropped) == (["s", "other", None], "text 0", 0.5, 0)


def test_hits_that_the_library_leaves_out_are_written_down(tmp_path: Path) -> None:
    alias = StubAlias(hits=hits("s"))
    alias.dropped = 2

    assert [told.dropped for told in performed(tmp_path, alias, "where?", "when?").searches] == [2, 2]


def test_an_empty_answer_is_written_down(tmp_path: Path) -> None:
    (told,) = performed(tmp_path, StubAlias(hits=hits()), "where?").searches

    assert (told.outcome, list(told.spaces), told.nearest) == (Outcome.ACKNOWLEDGED, [], "")


def test_a_search_that_raises_is_written_down_as_failed_and_not_repeated(tmp_path: Path) -> None:
    alias = StubAlias(StoreUnavailable("no answer"))

    (told,) = performed(tmp_path, alias, "where?").searches

    assert (told.outcome, len(alias.calls)) == (Outcome.FAILED, 1)


def script(role: Role, **values: Any) -> Script:
    return Script(name="actor", role=role, folder=Path("folder"), seed=5, **values)


OWN = {f"own-{number}": f"text {number}" for number in range(50)}
SHARED = {"shared-1": "one", "shared-2": "two"}


def kinds(effects: list[dict[str, Effect]]) -> set[type]:
    return {type(effect) for changed in effects for effect in changed.values()}


def test_a_writer_changes_its_own_documents_the_shared_ones_and_new_ones_of_its_name() -> None:
    writer = Writer(script(Role.WRITER, own=OWN, shared=SHARED))

    effects = [writer.next() for _ in range(500)]

    keys = {key for changed in effects for key in changed}
    assert {key for key in keys if not key.startswith("actor/")} == {*OWN, *SHARED}
    assert any(key.startswith("actor/") for key in keys)
    assert kinds(effects) == {Put, Merge, Delete}


def test_a_writer_deletes_only_what_it_shares() -> None:
    writer = Writer(script(Role.WRITER, own=OWN, shared=SHARED))

    deleted = {key for _ in range(2000) for key, effect in writer.next().items() if isinstance(effect, Delete)}

    assert deleted == set(SHARED)


def test_a_writer_never_writes_a_text_twice() -> None:
    """An older text that stands in the place of a newer one must be told from it."""
    writer = Writer(script(Role.WRITER, own=OWN, shared=SHARED))
    texts = [effect.text for _ in range(500) for effect in writer.next().values() if isinstance(effect, Put)]

    assert len(texts) - len(set(texts)) == 0


def test_writers_never_write_the_same_text() -> None:
    first = Writer(Script(name="one", role=Role.WRITER, folder=Path("folder"), seed=5, shared=SHARED))
    second = Writer(Script(name="two", role=Role.WRITER, folder=Path("folder"), seed=5, shared=SHARED))
    texts = [
        {effect.text for _ in range(300) for effect in writer.next().values() if isinstance(effect, Put)}
        for writer in (first, second)
    ]

    assert not texts[0] & texts[1]


def test_a_deleter_deletes_what_is_there_and_puts_back_what_is_not() -> None:
    deleter = Deleter(script(Role.DELETER, own=OWN))
    there = set(OWN)
    deleted = restored = 0
    for _ in range(1000):
        for key, effect in deleter.next().items():
            if isinstance(effect, Delete):
                assert key in there
                there.remove(key)
                deleted += 1
            else:
                assert key not in there
                restored += key in OWN
                there.add(key)

    assert deleted > 100
    assert restored > 100


@pytest.mark.parametrize("chooser", [Writer, Deleter])
def test_an_actor_with_no_documents_makes_some(chooser: type[Writer | Deleter]) -> None:
    actor = chooser(script(Role.WRITER))

    assert all(actor.next() for _ in range(100))
