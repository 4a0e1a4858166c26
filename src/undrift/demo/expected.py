"""What a document may be in the end, reckoned from the histories alone: never from anything that the product says."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from undrift.demo.history import Delete, Effect, Merge, Operation, Outcome, Put


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a document is: the SHA-256 of its text, and its metadata as canonical JSON. No document is None."""

    text: str
    metadata: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An operation as one document sees it.

    Attributes:
        actor: who called; an actor's certain changes come one after the other.
        effect: what it does.
        began: when it can first have happened.
        ended: when it has happened at the latest.
        certain: whether it has happened at all.
    """

    actor: str
    effect: Effect
    began: float
    ended: float
    certain: bool


def text_hash(text: str) -> str:
    """Return the SHA-256 of a text, as it is, in hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def state_of(text: str, metadata: Mapping[str, Any]) -> State:
    """Return the state of a document."""
    return State(text=text_hash(text), metadata=_canonical(metadata))


class Expectation:
    """The states that each document may be in when every operation is over."""

    def __init__(self, initial: Mapping[str, State], operations: Iterable[Operation]) -> None:
        """Reckon from what was loaded, and from what the actors did afterwards."""
        self._initial = initial
        self._changes: defaultdict[str, list[Change]] = defaultdict(list)
        for operation in operations:
            if operation.outcome is Outcome.FAILED:
                continue
            certain = operation.outcome is Outcome.ACKNOWLEDGED
            for key, effect in operation.effects.items():
                change = Change(
                    actor=operation.actor,
                    effect=effect,
                    began=operation.began,
                    ended=operation.ended if certain else float("inf"),
                    certain=certain,
                )
                self._changes[key].append(change)

    @property
    def keys(self) -> set[str]:
        """Every document that there ever was."""
        return {*self._initial, *self._changes}

    def of(self, key: str) -> frozenset[State | None]:
        """Return the states that a document may be in."""
        initial = self._initial.get(key)
        changes = self._changes.get(key)
        return possible(initial, changes) if changes else frozenset({initial})


def possible(initial: State | None, changes: Sequence[Change]) -> frozenset[State | None]:
    """Return every state in which a document can end.

    Walks all orders of the changes that the clock allows: one that was over before another began comes first, those
    that overlap come in any order, and those that nobody saw the end of come anywhere after they began, or never.
    """
    chains = _chains(changes)
    seen: set[tuple[tuple[int, ...], State | None]] = set()
    ends: set[State | None] = set()
    todo: list[tuple[tuple[int, ...], State | None]] = [((0,) * len(chains), initial)]
    while todo:
        place, state = todo.pop()
        if (place, state) in seen:
            continue
        seen.add((place, state))
        waiting = [chain[at] for chain, at in zip(chains, place, strict=True) if at < len(chain)]
        if not any(change.certain for change in waiting):
            ends.add(state)
        for number, (chain, at) in enumerate(zip(chains, place, strict=True)):
            if at < len(chain) and not any(other.ended < chain[at].began for other in waiting):
                following = (*place[:number], at + 1, *place[number + 1 :])
                todo.append((following, _after(state, chain[at].effect)))
    return frozenset(ends)


def _chains(changes: Sequence[Change]) -> list[list[Change]]:
    """Sort changes into sequences: an actor's certain ones in their order, each uncertain one by itself."""
    certain: defaultdict[str, list[Change]] = defaultdict(list)
    for change in sorted(changes, key=lambda change: change.began):
        if change.certain:
            certain[change.actor].append(change)
    return [*certain.values(), *([change] for change in changes if not change.certain)]


def _after(state: State | None, effect: Effect) -> State | None:
    match effect:
        case Put(text=text, metadata=metadata):
            return state_of(text, metadata)
        case Merge(changes=changes):
            if state is None:
                return None
            return State(text=state.text, metadata=_canonical({**json.loads(state.metadata), **changes}))
        case Delete():
            return None
        case _:
            assert_never(effect)


def _canonical(metadata: Mapping[str, Any]) -> str:
    return json.dumps(dict(metadata), sort_keys=True, separators=(",", ":"))
