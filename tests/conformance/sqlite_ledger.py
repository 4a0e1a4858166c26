"""The SQLite ledger as the kit tries it, with a side door through SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import apsw

from undrift.adapters.clock import SystemClock
from undrift.adapters.ledgers.sqlite import SqliteLedger
from undrift.adapters.sqlite import Database
from undrift.domain.route import AliasName, FieldKey
from undrift.ports.ledger import Ledger
from undrift.testing.ledgers import LedgerBench, Mark

BOOT = "boot-1"


def open_ledger(path: Path) -> Ledger:
    return SqliteLedger(Database(path), SystemClock(), boot_id=BOOT)


class SqliteLedgerBench(LedgerBench):
    """A ledger in a file; the side door reads it with a connection of its own."""

    kind: type[SqliteLedger] = SqliteLedger

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__()

    def handle(self) -> Ledger:
        return self.kind(Database(self.path), self.clock, boot_id=BOOT)

    def opener(self) -> Callable[[], Ledger]:
        return partial(open_ledger, self.path)

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        away = self.path.with_name("away")
        self.path.rename(away)
        try:
            yield
        finally:
            self.path.unlink(missing_ok=True)
            away.rename(self.path)

    def mark(self, alias: AliasName, key: str) -> Mark | None:
        found = self.sql("SELECT state, source, seq, open FROM dirty WHERE alias = ? AND key = ?", alias, key)
        for state, source, sequence, count in found:
            return Mark(dirty=state == 1, source=FieldKey(source), sequence=sequence, open=count)
        return None

    def operations(self, alias: AliasName) -> int:
        ((count,),) = self.sql("SELECT count(*) FROM op WHERE alias = ?", alias)
        return int(count)

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        connection = apsw.Connection(str(self.path))
        try:
            connection.set_busy_timeout(5000)
            return list(connection.execute(statement, values))
        finally:
            connection.close()
