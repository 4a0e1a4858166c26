"""What the processes of the contention test do: writers and workers over two folders of files."""

from __future__ import annotations

import random
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path

from undrift.domain.client import ClientId
from undrift.domain.operation import Opened
from undrift.ports.ledger import Ledger
from undrift.testing.ledgers.bench import ALIAS, ids

KEYS = [f"k{number}" for number in range(6)]
#: Writes of each writer; enough for claims and writes to meet many times.
_WRITES = 40
_HORIZON_S = 60.0


def content(folder: Path) -> dict[str, str]:
    """Return every document of a side."""
    return {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}


def write(open_ledger: Callable[[], Ledger], here: Path, there: Path, name: str) -> None:
    """Write documents inside the bracket; the other side is none of a writer's business."""
    del there
    ledger, chance = open_ledger(), random.Random(name)
    for number in range(_WRITES):
        keys = ids(*chance.sample(KEYS, 2))
        answer = ledger.open(ALIAS, keys, client=ClientId(name), deadline_s=_HORIZON_S)
        assert isinstance(answer, Opened)
        for key in keys:
            _put(here / key, f"{name} {number}")
        assert ledger.close(ALIAS, answer.operation, keys)
    for last in ids(*KEYS):
        answer = ledger.open(ALIAS, [last], client=ClientId(name), deadline_s=_HORIZON_S)
        assert isinstance(answer, Opened)
        _put(here / last, f"{name} ends")
        assert ledger.close(ALIAS, answer.operation, [last])
    ledger.close_ledger()


def carry(open_ledger: Callable[[], Ledger], here: Path, there: Path, done: Event, name: str) -> None:
    """Carry dirty documents over until the writers are done and none is left."""
    ledger, owner = open_ledger(), ClientId(name)
    while True:
        last_look = done.is_set()
        claims = ledger.claim(ALIAS, owner=owner, limit=3, lease_s=_HORIZON_S, settle_s=_HORIZON_S)
        for claim in claims:
            _put(there / claim.key, (here / claim.key).read_text(encoding="utf-8"))
        ledger.clear(ALIAS, claims, owner=owner)
        if not claims and last_look and not ledger.lag(ALIAS).dirty:
            break
    ledger.close_ledger()


def _put(file: Path, text: str) -> None:
    """Replace a document at once, so that nobody reads half of it."""
    new = file.with_name(f".{file.name}.{text.replace(' ', '-')}")
    new.write_text(text, encoding="utf-8")
    new.replace(file)
