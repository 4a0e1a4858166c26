"""What live traffic did: a file for each actor, with a line before and after every operation that no kill falsifies."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

#: What the lines of an acknowledged operation and of a rest have in them; quotes inside a text are escaped, so no text
#: can look like it.
ACKNOWLEDGED_MARK = b'"outcome": "acknowledged"'
RESTING_MARK = b'{"resting": true'
_ANSWER = frozenset({"space", "epoch", "spaces", "dropped", "nearest", "score"})


class Outcome(Enum):
    """How an operation ended, as the actor saw it."""

    #: The call returned.
    ACKNOWLEDGED = "acknowledged"
    #: The call raised an error that says that nothing happened.
    FAILED = "failed"
    #: The call raised an error that leaves it open, or the actor did not live to see its end.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """A document is inserted or replaced whole."""

    text: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """Keys are put into a document's metadata, if there is such a document."""

    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """A document is removed."""


Effect = Put | Merge | Delete


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A call of an actor that changes documents.

    Attributes:
        actor: who called.
        effects: what it does to each document.
        began: seconds of the machine's monotonic clock before the call.
        ended: seconds after it; infinite when it never ended.
        outcome: how it ended.
    """

    actor: str
    effects: Mapping[str, Effect]
    began: float
    ended: float
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search of an actor, and what it was answered.

    Attributes:
        actor: who asked.
        question: the text that was searched for.
        began: seconds of the machine's monotonic clock before the call.
        ended: seconds after it; infinite when it never ended.
        outcome: how it ended.
        space: the space that the answer says it is of.
        epoch: the route's number that the answer says it was found under.
        spaces: the spaces on the tags of its hits, None for a hit without a tag.
        dropped: hits that the library left out because their tags were foreign.
        nearest: text of the first hit.
        score: score of the first hit.
    """

    actor: str
    question: str
    began: float
    ended: float
    outcome: Outcome
    space: str = ""
    epoch: int = 0
    spaces: Sequence[str | None] = ()
    dropped: int = 0
    nearest: str = ""
    score: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Histories:
    """Everything that all actors did."""

    operations: list[Operation] = field(default_factory=list)
    searches: list[Search] = field(default_factory=list)


class History:
    """One actor's file. A line is with the operating system before its operation begins, so no kill can hide one."""

    def __init__(self, path: Path) -> None:
        """Begin a file; one that is there is continued."""
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._number = 0

    def __enter__(self) -> Self:
        """Use it as a context, which closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        os.close(self._file)

    def begin_search(self, question: str) -> int:
        """Write down that a search begins; returns its number."""
        return self._begin({"question": question})

    def begin(self, effects: Mapping[str, Effect]) -> int:
        """Write down that documents are about to be changed; returns the operation's number."""
        return self._begin({"effects": {key: _written(effect) for key, effect in effects.items()}})

    def end(self, number: int, outcome: Outcome, **facts: Any) -> None:
        """Write down how an operation ended, and what else there is to know."""
        self._write({"end": number, "at": time.monotonic(), **facts, "outcome": outcome.value})

    def rest(self) -> None:
        """Write down that nothing is going on, and that nothing will until the order to go on."""
        self._write({"resting": True, "at": time.monotonic()})

    def _begin(self, what: dict[str, Any]) -> int:
        self._number += 1
        self._write({"begin": self._number, "at": time.monotonic(), **what})
        return self._number

    def _write(self, line: dict[str, Any]) -> None:
        data = (json.dumps(line) + "\n").encode()
        while data:
            data = data[os.write(self._file, data) :]


def read(folder: Path) -> Histories:
    """Read the histories of all actors of a folder, each file named after its actor."""
    found = Histories()
    for path in sorted(folder.glob("*.jsonl")):
        for line, end in _pairs(path):
            span = {
                "actor": path.stem,
                "began": line["at"],
                "ended": end.get("at", math.inf),
                "outcome": Outcome(end.get("outcome", Outcome.UNKNOWN.value)),
            }
            if "question" in line:
                answer = {key: value for key, value in end.items() if key in _ANSWER}
                found.searches.append(Search(question=line["question"], **span, **answer))
            else:
                effects = {key: _read(effect) for key, effect in line["effects"].items()}
                found.operations.append(Operation(effects=effects, **span))
    return found


def _pairs(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield how each operation began, and how it ended if it did."""
    begun: dict[int, dict[str, Any]] = {}
    for data in path.read_bytes().splitlines(keepends=True):
        if not data.endswith(b"\n"):
            # Torn by a kill: a beginning that was not written whole was not acted upon.
            break
        line = json.loads(data)
        if "begin" in line:
            begun[line["begin"]] = line
        elif "end" in line:
            yield begun.pop(line["end"]), line
    for line in begun.values():
        yield line, {}


def _written(effect: Effect) -> dict[str, Any]:
    match effect:
        case Put(text=text, metadata=metadata):
            return {"put": text, "metadata": dict(metadata)}
        case Merge(changes=changes):
            return {"merge": dict(changes)}
        case Delete():
            return {"delete": True}


def _read(line: Mapping[str, Any]) -> Effect:
    if "put" in line:
        return Put(text=line["put"], metadata=line["metadata"])
    if "merge" in line:
        return Merge(changes=line["merge"])
    return Delete()
