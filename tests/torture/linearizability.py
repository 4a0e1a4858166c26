"""Whether what processes saw of one document can have happened in some order (Wing and Gong; Lowe; P-compositional).

A document is a register: it is written, deleted, its metadata is merged into, and it is read. Documents are independent
of each other, so each is looked at alone. What nobody saw the end of may have happened at any time after it began, or
never.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, assert_never

#: A document as text and canonical metadata; None when there is none.
State = tuple[str, str] | None
#: Most places that are looked at for one document before it is left undecided.
MOST_PLACES = 200_000


class Verdict(Enum):
    """What a history turned out to be."""

    #: There is an order.
    POSSIBLE = "possible"
    #: There is none.
    IMPOSSIBLE = "impossible"
    #: There were too many to look at.
    UNDECIDED = "undecided"


class Kind(Enum):
    """What an operation does to its document."""

    #: It is inserted, or replaced whole.
    PUT = "put"
    #: It is removed.
    DELETE = "delete"
    #: Keys are put into its metadata, if it is there.
    MERGE = "merge"
    #: It is looked at, and was as `value` says.
    READ = "read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One operation on one document.

    Attributes:
        kind: what it does.
        value: what is put or was read; the keys to merge as canonical JSON in its second part.
        began: when it can first have happened.
        ended: when it has happened at the latest; infinite when that is not known.
        certain: whether it has happened at all.
    """

    kind: Kind
    value: State
    began: float
    ended: float
    certain: bool = True


def state(text: str, metadata: Mapping[str, Any]) -> State:
    """Return what a document is."""
    return text, canonical(metadata)


def canonical(metadata: Mapping[str, Any]) -> str:
    return json.dumps(dict(metadata), sort_keys=True, separators=(",", ":"))


def judge(initial: State, history: Iterable[Op], *, most_places: int = MOST_PLACES) -> Verdict:
    """Look for an order in which every operation has its effect at one moment between its beginning and its end."""
    ops = _that_matter(sorted(history, key=lambda op: (op.began, op.ended)))
    # A place is what has happened (a bit for each operation) and what the document is then.
    todo: list[tuple[int, State]] = [(0, initial)]
    seen: set[tuple[int, State]] = set(todo)
    needed = sum(1 << number for number, op in enumerate(ops) if op.certain)
    while todo:
        done, present = todo.pop()
        if done & needed == needed:
            return Verdict.POSSIBLE
        if len(seen) > most_places:
            return Verdict.UNDECIDED
        following = _next(ops, done)
        # A read that sees what is there changes nothing: no order is lost by letting it happen at once.
        seen_now = next((it for it in following if it[1].kind is Kind.READ and it[1].value == present), None)
        # What began first is tried first, so it is pushed last; what may never have happened is tried at the very last.
        choices = sorted(following, key=lambda it: (it[1].certain, -it[1].began)) if seen_now is None else [seen_now]
        for number, op in choices:
            after = _after(present, op)
            if after is not _NOT_SO:
                place = (done | 1 << number, after)
                if place not in seen:
                    seen.add(place)
                    todo.append(place)
    return Verdict.IMPOSSIBLE


_NOT_SO: Any = object()


def _next(ops: Sequence[Op], done: int) -> list[tuple[int, Op]]:
    """Return the operations that may happen next: those that began before any other that is left has ended."""
    found: list[tuple[int, Op]] = []
    first_end = math.inf
    for number, op in enumerate(ops):
        if op.began > first_end:
            break
        if not done >> number & 1:
            found.append((number, op))
            if op.certain:
                first_end = min(first_end, op.ended)
    return [(number, op) for number, op in found if op.began <= first_end]


def _after(present: State, op: Op) -> State:
    match op.kind:
        case Kind.READ:
            return present if op.value == present else _NOT_SO
        case Kind.PUT:
            return op.value
        case Kind.DELETE:
            return None
        case Kind.MERGE:
            if present is None or op.value is None:
                return None
            return present[0], canonical({**json.loads(present[1]), **json.loads(op.value[1])})
        case _:
            assert_never(op.kind)


def _that_matter(ops: Sequence[Op]) -> list[Op]:
    """Leave out what no order can depend on.

    A put that may not have happened and whose text nobody read would only have to be hidden again by another write. A
    read is not needed beside another one of the same value over a part of its time.
    """
    reads: dict[State, list[Op]] = {}
    for op in ops:
        if op.kind is Kind.READ and op.certain:
            reads.setdefault(op.value, []).append(op)
    texts = {value[0] for value in reads if value is not None}
    kept: list[Op] = []
    for op in ops:
        match op.kind:
            case Kind.READ:
                needed = op.certain and not any(_implies(other, op) for other in reads[op.value])
            case Kind.PUT:
                needed = op.certain or (op.value is not None and op.value[0] in texts)
            case Kind.DELETE | Kind.MERGE:
                needed = True
            case _:
                assert_never(op.kind)
        if needed:
            kept.append(op)
    return kept


def _implies(other: Op, op: Op) -> bool:
    """Whether a read of the same value makes another one needless; of two over the same time, one is kept."""
    if other is op or not (op.began <= other.began and other.ended <= op.ended):
        return False
    return (other.began, other.ended) != (op.began, op.ended) or id(other) < id(op)
