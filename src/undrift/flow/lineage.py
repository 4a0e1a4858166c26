"""The durable book of lineage: entries are put behind those that are there, and none is ever changed."""

from __future__ import annotations

import json

from undrift.domain.lineage import Entry, Lineage, as_dict, from_dict
from undrift.errors import StaleRoute
from undrift.ports.memory import MemoryLedger

_PREFIX = "lineage/"
#: How often an entry is tried again when somebody else was faster.
_TRIES = 20


class LineageBook:
    """Reads and continues the lineage in a ledger."""

    def __init__(self, memory: MemoryLedger) -> None:
        """Read nothing yet."""
        self._memory = memory

    def read(self) -> Lineage:
        """Return everything that is recorded."""
        return self._read()[0]

    def add(self, entry: Entry) -> Lineage:
        """Put an entry behind the others, and return the lineage with it.

        Each entry has a number of its own, and is checked against exactly those before it.

        Raises:
            UndriftError: as `Lineage.check`; nothing was written.
            StaleRoute: others were faster again and again.
        """
        for _ in range(_TRIES):
            lineage, number = self._read()
            lineage.check(entry)
            text = json.dumps(as_dict(entry), ensure_ascii=False, sort_keys=True)
            if self._memory.remember(f"{_PREFIX}{number:08d}", text, version=0):
                return Lineage([*lineage.entries, entry])
        raise StaleRoute(f"the entry about model {entry.model} could not be written: others write all the time")

    def _read(self) -> tuple[Lineage, int]:
        memos = self._memory.recall_all(_PREFIX)
        entries = [from_dict(json.loads(memo.text)) for memo in memos]
        number = int(memos[-1].key.removeprefix(_PREFIX)) + 1 if memos else 1
        return Lineage([entry for entry in entries if entry is not None]), number
