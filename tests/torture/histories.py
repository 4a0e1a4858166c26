"""What every actor did, in a file for each of its lives; no kill can hide an operation that began.

A line stands before each call and another after it. Times are of the machine's monotonic clock.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: How an operation ended: it happened, it did not, or nobody knows.
OK, FAIL, UNKNOWN = "ok", "fail", "unknown"

#: Another file is begun between two calls when one is longer; no limit that the nemesis sets is below twice that.
_LONG = 32_768


class History:
    """The files of one life of an actor; a file stays so short that an account can be kept when the disk is full."""

    def __init__(self, path: Path) -> None:
        self._path, self._parts = path, 0
        self._file = self._open()
        self.number = 0

    def invoke(self, kind: str, **facts: Any) -> int:
        """Write down what is about to be called; returns its number."""
        if os.fstat(self._file).st_size > _LONG:
            os.close(self._file)
            self._file = self._open()
        self.number += 1
        self.note(invoke=self.number, kind=kind, **facts)
        return self.number

    def _open(self) -> int:
        self._parts += 1
        path = self._path.with_name(f"{self._path.stem}~{self._parts}{self._path.suffix}")
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def end(self, number: int, outcome: str, **facts: Any) -> None:
        """Write down how a call ended."""
        self.note(end=number, outcome=outcome, **facts)

    def note(self, **facts: Any) -> None:
        data = (json.dumps({"at": time.monotonic(), **facts}) + "\n").encode()
        while data:
            data = data[os.write(self._file, data) :]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of an actor.

    Attributes:
        actor: whose, with the number of its life.
        kind: `put`, `delete`, `merge`, `get`, `search`, `verb`; or `settled`, which is none and stands for itself.
        began: when it was about to be called.
        ended: when it had returned; infinite when nobody saw that.
        outcome: how it ended.
        asked: what was called with.
        told: what was answered.
    """

    actor: str
    kind: str
    began: float
    ended: float
    outcome: str
    asked: Mapping[str, Any]
    told: Mapping[str, Any] = field(default_factory=dict)


def read(folder: Path) -> list[Call]:
    """Read every call of every life, in the order in which they began."""
    calls = [call for path in sorted(folder.glob("*.jsonl")) for call in _calls(path)]
    return sorted(calls, key=lambda call: call.began)


def _calls(path: Path) -> Iterator[Call]:
    begun: dict[int, dict[str, Any]] = {}
    for line in _lines(path):
        if "invoke" in line:
            begun[line["invoke"]] = line
        elif "end" in line:
            yield _call(path.stem, begun.pop(line["end"]), line)
        elif "settled" in line:
            yield Call(
                actor=path.stem, kind="settled", began=line["at"], ended=line["at"], outcome=OK, asked=line, told=line
            )
    for line in begun.values():
        yield _call(path.stem, line, {})


def _lines(path: Path) -> Sequence[dict[str, Any]]:
    # What a kill tore off was not acted upon: the call comes after the line.
    return [json.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def _call(actor: str, first: dict[str, Any], last: dict[str, Any]) -> Call:
    outcome = last.get("outcome", UNKNOWN)
    return Call(
        actor=actor,
        kind=first["kind"],
        began=first["at"],
        # What is not known to have ended may happen at any later time.
        ended=last["at"] if outcome != UNKNOWN else math.inf,
        outcome=outcome,
        asked=first,
        told=last,
    )
