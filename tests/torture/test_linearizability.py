"""The checker passes what can have happened, and nothing else; a small one that tries every order agrees with it."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from tests.torture.linearizability import Kind, Op, State, Verdict, judge, state

A, B, C = state("a", {}), state("b", {}), state("c", {"x": 1})
NEVER = math.inf


def put(value: State, began: float, ended: float, *, certain: bool = True) -> Op:
    return Op(kind=Kind.PUT, value=value, began=began, ended=ended, certain=certain)


def delete(began: float, ended: float, *, certain: bool = True) -> Op:
    return Op(kind=Kind.DELETE, value=None, began=began, ended=ended, certain=certain)


def merge(changes: dict[str, int], began: float, ended: float, *, certain: bool = True) -> Op:
    value = ("", state("", changes)[1])  # type: ignore[index]
    return Op(kind=Kind.MERGE, value=value, began=began, ended=ended, certain=certain)


def read(value: State, began: float, ended: float) -> Op:
    return Op(kind=Kind.READ, value=value, began=began, ended=ended)


POSSIBLE = {
    "nothing happened": (None, [read(None, 0, 1)]),
    "a write is read": (None, [put(A, 0, 1), read(A, 2, 3)]),
    "of two writes at once, either may be the last": (None, [put(A, 0, 5), put(B, 0, 5), read(A, 6, 7)]),
    "a read beside a write sees what was before": (A, [put(B, 0, 5), read(A, 1, 2), read(B, 6, 7)]),
    "a write that nobody saw the end of happened": (A, [put(B, 0, NEVER, certain=False), read(B, 5, 6)]),
    "a write that nobody saw the end of happened late": (
        A,
        [put(B, 0, NEVER, certain=False), read(A, 5, 6), read(B, 7, 8)],
    ),
    "a write that nobody saw the end of never happened": (A, [put(B, 0, NEVER, certain=False), read(A, 5, 6)]),
    "a delete that nobody saw the end of explains an absence": (A, [delete(0, NEVER, certain=False), read(None, 5, 6)]),
    "a merge changes what is there": (C, [merge({"y": 2}, 0, 1), read(state("c", {"x": 1, "y": 2}), 2, 3)]),
    "a merge makes no document": (None, [merge({"y": 2}, 0, 1), read(None, 2, 3)]),
    "a merge into what is put at the same time": (
        None,
        [put(C, 0, 5), merge({"x": 2}, 0, 5), read(state("c", {"x": 2}), 6, 7)],
    ),
    "what two readers saw beside three writers": (
        None,
        [put(A, 0, 9), put(B, 0, 9), delete(0, 9), read(B, 1, 2), read(None, 3, 4), read(A, 10, 11)],
    ),
}
IMPOSSIBLE = {
    "an acknowledged write is lost": (A, [put(B, 0, 1), read(A, 2, 3)]),
    "a deleted document is back": (A, [delete(0, 1), read(A, 2, 3)]),
    "an older write is on top of a newer one": (None, [put(A, 0, 1), put(B, 2, 3), read(A, 4, 5)]),
    "a document that nobody wrote": (None, [put(A, 0, 1), read(B, 2, 3)]),
    "a write is seen before it began": (A, [read(B, 0, 1), put(B, 2, 3)]),
    "a read goes back in time": (A, [put(B, 0, 9), read(B, 1, 2), read(A, 3, 4)]),
    "two readers see two writes in two orders": (
        None,
        [put(A, 0, 9), put(B, 0, 9), read(A, 1, 2), read(B, 3, 4), read(A, 5, 6)],
    ),
    "a merge is lost": (C, [merge({"y": 2}, 0, 1), read(C, 2, 3)]),
    "a merge makes a document": (None, [merge({"y": 2}, 0, 1), read(state("", {"y": 2}), 2, 3)]),
    "what nobody saw the end of is seen before it began": (A, [read(B, 0, 1), put(B, 2, NEVER, certain=False)]),
    "half of an overwritten document is left": (C, [put(A, 0, 1), read(state("a", {"x": 1}), 2, 3)]),
}


@pytest.mark.parametrize("name", POSSIBLE)
def test_what_can_have_happened_passes(name: str) -> None:
    assert judge(*POSSIBLE[name]) is Verdict.POSSIBLE


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_cannot_have_happened_is_caught(name: str) -> None:
    assert judge(*IMPOSSIBLE[name]) is Verdict.IMPOSSIBLE


def brute(initial: State, ops: list[Op]) -> bool:
    """Try every order of every choice of what happened."""
    uncertain = [op for op in ops if not op.certain]
    for size in range(len(uncertain) + 1):
        for happened in itertools.combinations(uncertain, size):
            chosen = [op for op in ops if op.certain] + list(happened)
            if any(_fits(initial, order) for order in itertools.permutations(chosen)):
                return True
    return False


def _fits(present: State, order: tuple[Op, ...]) -> bool:
    latest = -math.inf
    for op in order:
        latest = max(latest, op.began)
        if latest > op.ended:
            return False
        match op.kind:
            case Kind.READ if op.value != present:
                return False
            case Kind.PUT:
                present = op.value
            case Kind.DELETE:
                present = None
            case Kind.MERGE if present is not None:
                present = state(present[0], {"merged": True})
    return True


def test_it_agrees_with_a_checker_that_tries_every_order() -> None:
    chance = random.Random(20261122)
    merged = [state(value[0], {"merged": True}) for value in (A, B) if value is not None]
    verdicts = []
    for _ in range(1500):
        ops = []
        for _ in range(chance.randint(1, 6)):
            kind = chance.choice(list(Kind))
            began = chance.randrange(8)
            certain = kind is Kind.READ or chance.random() < 0.7
            ended = began + chance.randrange(5) if certain else NEVER
            value = {
                Kind.READ: chance.choice([None, A, B, *merged]),
                Kind.PUT: chance.choice([A, B]),
                Kind.DELETE: None,
                Kind.MERGE: ("", '{"merged":true}'),
            }[kind]
            ops.append(Op(kind=kind, value=value, began=began, ended=ended, certain=certain))
        initial = chance.choice([None, A])
        expected = brute(initial, ops)
        verdicts.append(expected)
        assert (judge(initial, ops) is Verdict.POSSIBLE) == expected, (initial, ops)
    assert 200 < sum(verdicts) < 1300


def test_a_long_history_of_a_busy_document_is_judged() -> None:
    """A hundred writers and readers at once, a tenth of which nobody saw the end of."""
    chance = random.Random(7)
    ops: list[Op] = []
    present: State = None
    for number in range(600):
        began = number + chance.random()
        if number % 3 == 0:
            present = state(f"text {number}", {})
            ops.append(put(present, began, began + 4.0))
        elif number % 30 == 1:
            ops.append(put(state(f"lost {number}", {}), began, NEVER, certain=False))
        else:
            ops.append(read(present, began - 2.0, began + 6.0))

    assert judge(None, ops) is Verdict.POSSIBLE
    assert judge(None, [*ops, read(state("text 3", {}), 700, 701)]) is Verdict.IMPOSSIBLE


def test_a_history_that_is_too_much_is_not_called_possible() -> None:
    ops = [put(state(f"text {number}", {}), 0, 100) for number in range(30)]
    ops += [read(state(f"text {number}", {}), 50, 60) for number in range(0, 30, 2)]

    assert judge(None, [*ops, read(state("another", {}), 200, 201)], most_places=1000) is Verdict.UNDECIDED
