"""A process that replays its half of a change stream against an alias, as an application would.

Usage: python replayer.py CONFIG ALIAS OPS.jsonl SHARE OF SECONDS — every id belongs to exactly one of OF processes, so
the order of changes to one document is the order of the file.
"""

from __future__ import annotations

import json
import sys
import time
import zlib
from pathlib import Path

import undrift
from undrift.errors import UndriftError


def replay(config: str, alias: str, operations: Path, share: tuple[int, int], seconds: float) -> int:
    """Apply the operations of one share, spread evenly over a time; each is repeated until it is acknowledged."""
    lines = operations.read_text(encoding="utf-8").splitlines()
    mine = [op for op in map(json.loads, lines) if zlib.crc32(op["id"].encode()) % share[1] == share[0]]
    began = time.monotonic()
    repeated = 0
    with undrift.open(config) as plane:
        kb = plane.alias(alias)
        for number, op in enumerate(mine):
            while True:
                try:
                    apply(kb, op)
                    break
                except UndriftError as error:
                    if not error.retryable:
                        raise
                    repeated += 1
            due = began + seconds * number / len(mine)
            time.sleep(max(0.0, due - time.monotonic()))
    return repeated


def apply(kb: undrift.Alias, op: dict[str, object]) -> None:
    """Apply one operation of the stream."""
    id = str(op["id"])
    match op["op"]:
        case "delete":
            kb.delete([id])
        case "metadata":
            kb.update_metadata(id, op["metadata"])  # type: ignore[arg-type]
        case _:
            kb.upsert([undrift.Document(id=id, text=str(op["text"]), metadata=op.get("metadata") or {})])  # type: ignore[arg-type]


if __name__ == "__main__":
    config, alias, operations, share, of, seconds = sys.argv[1:]
    sys.stdout.write(f"{replay(config, alias, Path(operations), (int(share), int(of)), float(seconds))} repeated\n")
