"""A process that compares both fields slowly, says how far it has come, and is killed by those who started it.

Run as `python comparer.py CONFIG VERB PAGE`. A line is written before each page is kept in the ledger, and one after.
"""

from __future__ import annotations

import sys
from typing import Any

import undrift
from undrift.migrate import compare


def say(line: str) -> None:
    """Say a line, and wait until it was heard."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
    sys.stdin.readline()


def main(config: str, verb: str, page: int) -> None:
    compare.PAGE = page
    plane = undrift.open(config)
    save = plane.ledger.save_bookmark

    def told(alias: Any, name: str, content: Any) -> None:
        if name.endswith(".run"):
            say(f"before {content['compared'] if content else 'end'}")
        save(alias, name, content)
        if name.endswith(".run"):
            say(f"after {content['compared'] if content else 'end'}")

    plane.ledger.save_bookmark = told  # type: ignore[method-assign]
    if verb == "verify":
        plane.verify("kb", sample=20)
    else:
        plane.reconcile("kb", scans=1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
