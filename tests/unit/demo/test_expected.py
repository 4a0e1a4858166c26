from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, permutations
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from undrift.demo.expected import Change, Expectation, State, possible, state_of
from undrift.demo.history import Delete, Effect, Merge, Operation, Outcome, Put

OLD = state_of("old", {})


def put(text: str, **metadata: object) -> Put:
    return Put(text=text, metadata=metadata)


def operation(
    effect: Effect, began: float, ended: float, outcome: Outcome = Outcome.ACKNOWLEDGED, actor: str = "one"
) -> Operation:
    return Operation(actor=actor, effects={"a": effect}, began=began, ended=ended, outcome=outcome)


def after(*operations: Operation) -> frozenset[State | None]:
    return Expectation({"a": OLD}, operations).of("a")


def test_a_document_that_nobody_touched_is_what_was_loaded() -> None:
    assert Expectation({"a": OLD}, []).of("a") == {OLD}


def test_a_document_that_nobody_ever_wrote_is_not_there() -> None:
    assert Expectation({"a": OLD}, []).of("b") == {None}


def test_of_writes_that_follow_each_other_the_last_one_stands() -> None:
    assert after(operation(put("first"), 1, 2), operation(put("second"), 3, 4)) == {state_of("second", {})}


def test_the_order_is_that_of_the_clock_and_not_of_the_files() -> None:
    late, early = operation(put("late"), 5, 6, actor="one"), operation(put("early"), 1, 2, actor="two")

    assert after(late, early) == {state_of("late", {})}


def test_an_acknowledged_delete_leaves_nothing() -> None:
    assert after(operation(Delete(), 1, 2)) == {None}


def test_a_delete_and_a_write_after_it_leave_the_write() -> None:
    assert after(operation(Delete(), 1, 2), operation(put("back"), 3, 4)) == {state_of("back", {})}


def test_metadata_is_merged_into_what_is_there() -> None:
    told = after(operation(put("text", lang="en"), 1, 2), operation(Merge(changes={"seen": 1}), 3, 4))

    assert told == {state_of("text", {"lang": "en", "seen": 1})}


def test_metadata_of_a_document_that_is_gone_makes_none() -> None:
    assert after(operation(Delete(), 1, 2), operation(Merge(changes={"seen": 1}), 3, 4)) == {None}


def test_of_two_writes_at_the_same_time_either_may_stand() -> None:
    told = after(operation(put("one"), 1, 4, actor="one"), operation(put("two"), 2, 3, actor="two"))

    assert told == {state_of("one", {}), state_of("two", {})}


def test_a_write_that_failed_never_happened() -> None:
    assert after(operation(put("failed"), 1, 2, Outcome.FAILED)) == {OLD}


def test_a_write_of_unknown_outcome_may_have_happened_or_not() -> None:
    assert after(operation(put("maybe"), 1, 2, Outcome.UNKNOWN)) == {OLD, state_of("maybe", {})}


def test_a_write_of_unknown_outcome_may_land_after_later_ones() -> None:
    told = after(operation(put("maybe"), 1, 2, Outcome.UNKNOWN), operation(put("sure"), 3, 4))

    assert told == {state_of("sure", {}), state_of("maybe", {})}


def test_a_write_of_unknown_outcome_does_not_excuse_the_older_text() -> None:
    told = after(operation(put("maybe"), 1, 2, Outcome.UNKNOWN), operation(put("sure"), 3, 4))

    assert OLD not in told


def test_an_unknown_write_cannot_happen_before_it_began() -> None:
    told = after(operation(put("sure"), 1, 2), operation(Merge(changes={"n": 1}), 3, 4, Outcome.UNKNOWN))

    assert told == {state_of("sure", {}), state_of("sure", {"n": 1})}


def test_each_document_of_one_call_has_its_own_history() -> None:
    both = Operation(
        actor="one", effects={"a": put("new"), "b": Delete()}, began=1, ended=2, outcome=Outcome.ACKNOWLEDGED
    )
    expected = Expectation({"a": OLD, "b": OLD, "c": OLD}, [both])

    assert [expected.of(key) for key in "abc"] == [{state_of("new", {})}, {None}, {OLD}]
    assert expected.keys == {"a", "b", "c"}


def test_states_differ_by_every_character_of_text_and_metadata() -> None:
    assert state_of("text", {"a": 1}) == state_of("text", {"a": 1})
    assert state_of("text", {"a": 1, "b": 2}) == state_of("text", {"b": 2, "a": 1})
    assert (
        len({state_of("text", {}), state_of("text ", {}), state_of("text", {"a": 1}), state_of("text", {"a": "1"})})
        == 4
    )


def orders(changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
    """Every order that the clock allows of the certain changes and any of the others, found without any cleverness."""
    unsure = [change for change in changes if not change.certain]
    sure = [change for change in changes if change.certain]
    for count in range(len(unsure) + 1):
        for taken in combinations(unsure, count):
            for order in permutations([*sure, *taken]):
                pairs = combinations(order, 2)
                if not any(second.ended < first.began for first, second in pairs):
                    yield order


def applied(order: Sequence[Change]) -> State | None:
    there, text, metadata = True, "old", dict[str, object]()
    for change in order:
        match change.effect:
            case Put(text=new, metadata=values):
                there, text, metadata = True, new, dict(values)
            case Merge(changes=values) if there:
                metadata |= values
            case Delete():
                there = False
    return state_of(text, metadata) if there else None


@st.composite
def histories(draw: st.DrawFn) -> list[Change]:
    """A few changes by up to three actors, each of which does one thing after the other."""
    changes = []
    for number in range(draw(st.integers(1, 5))):
        began = draw(st.integers(0, 6))
        certain = draw(st.booleans()) or draw(st.booleans())
        effect = draw(st.sampled_from([put(str(number)), Merge(changes={str(number % 2): number}), Delete()]))
        ended = float(began + draw(st.integers(1, 4))) if certain else inf
        changes.append(Change(actor=str(number), effect=effect, began=began, ended=ended, certain=certain))
    # Certain changes of one actor follow each other; some of those that happen to do so become one actor's.
    chain: list[Change] = []
    for change in sorted(changes, key=lambda change: change.began):
        if change.certain and (not chain or chain[-1].ended <= change.began) and draw(st.booleans()):
            chain.append(change)
    return [
        Change(
            actor="chain",
            effect=change.effect,
            began=change.began + (change in chain) * 0.5,
            ended=change.ended,
            certain=True,
        )
        if change in chain
        else change
        for change in changes
    ]


@given(histories())
def test_the_possible_ends_are_those_of_all_orders(changes: list[Change]) -> None:
    assert possible(OLD, changes) == {applied(order) for order in orders(changes)}
