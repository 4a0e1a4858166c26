"""Breadth-first search through every state that a machine can reach, with the shortest way to the first bad one."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

S = TypeVar("S", bound=Hashable)

#: Larger than every scenario of this folder; a machine that passes it has grown without being noticed.
LIMIT = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a search has found out."""

    violation: str | None  #: what is wrong in the last state of the trace, or None
    trace: tuple[str, ...]  #: the moves from the initial state to the violation; no other trace is shorter
    states: int  #: how many different states were looked at
    complete: bool  #: whether every reachable state was looked at; a violation or the limit ends a search early

    def __str__(self) -> str:
        if self.violation is None:
            return f"no violation in {self.states} states, {'completely explored' if self.complete else 'TRUNCATED'}"
        moves = (f"{number:>4}  {move}" for number, move in enumerate(self.trace, 1))
        return "\n".join((f"{self.violation}, after {len(self.trace)} moves:", *moves))


def explore(
    initial: S,
    moves: Callable[[S], Iterable[tuple[str, S]]],
    violation: Callable[[S, bool], str | None],
    *,
    limit: int = LIMIT,
) -> Outcome:
    """Look at every state reachable from `initial`, nearest first, and stop at the first that is wrong.

    Args:
        initial: Where the machine starts. States are compared and hashed, so they must be values.
        moves: All that may happen next in a state, each move with a few words that name it.
        violation: Says what is wrong in a state, or None. Its second argument tells that nothing can happen any more,
            so that a machine that stopped half-way (a deadlock) can be told from one that has finished.
        limit: After so many states the search gives up; its outcome then says that it is not complete.
    """
    arrival: dict[S, tuple[S, str] | None] = {initial: None}
    waiting = deque([initial])
    looked_at = 0
    with _no_garbage():
        while waiting:
            if looked_at == limit:
                return Outcome(violation=None, trace=(), states=looked_at, complete=False)
            state = waiting.popleft()
            looked_at += 1
            successors = list(moves(state))
            wrong = violation(state, not successors)
            if wrong is not None:
                return Outcome(violation=wrong, trace=_way_to(state, arrival), states=looked_at, complete=False)
            for move, successor in successors:
                if successor not in arrival:
                    arrival[successor] = (state, move)
                    waiting.append(successor)
    return Outcome(violation=None, trace=(), states=looked_at, complete=True)


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Let the cyclic collector rest: values make no cycles, and it would walk through all of them again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _way_to(state: S, arrival: dict[S, tuple[S, str] | None]) -> tuple[str, ...]:
    moves = []
    while (step := arrival[state]) is not None:
        state, move = step
        moves.append(move)
    return tuple(reversed(moves))
