"""What the look-out has seen and told: memos and series."""

from __future__ import annotations

from datetime import datetime

from undrift.adapters.ledgers.postgres.session import Session, moment
from undrift.ports.memory import Memo, Observation

_VERSION = "nextval('undrift.memo_version')"


class MemoryTables(Session):
    """One row a memo, with a version of which none is ever given out again."""

    def recall(self, key: str) -> Memo | None:
        """Return the memo under a key."""
        rows = self._read("SELECT text, version FROM undrift.memo WHERE key = %s", (key,))
        return Memo(key=key, text=rows[0][0], version=rows[0][1]) if rows else None

    def recall_all(self, prefix: str) -> list[Memo]:
        """Return every memo whose key begins with a prefix."""
        rows = self._read(
            "SELECT key, text, version FROM undrift.memo WHERE starts_with(key, %s) ORDER BY key", (prefix,)
        )
        return [Memo(key=key, text=text, version=version) for key, text, version in rows]

    def remember(self, key: str, text: str, *, version: int) -> bool:
        """Write a memo; durably, because what was told would be told again."""
        if version:
            sql = (
                f"UPDATE undrift.memo SET text = %(text)s, version = {_VERSION} "
                "WHERE key = %(key)s AND version = %(version)s RETURNING version"
            )
        else:
            sql = (
                f"INSERT INTO undrift.memo (key, text, version) VALUES (%(key)s, %(text)s, {_VERSION}) "
                "ON CONFLICT (key) DO NOTHING RETURNING version"
            )
        (rows,) = self._run((sql, {"key": key, "text": text, "version": version}), durable=True)
        return bool(rows)

    def forget(self, key: str, *, version: int) -> bool:
        """Remove a memo."""
        sql = "DELETE FROM undrift.memo WHERE key = %s AND version = %s RETURNING version"
        (rows,) = self._run((sql, (key, version)), durable=True)
        return bool(rows)

    def observe(self, series: str, moment: datetime, text: str, *, keep: int) -> None:
        """Add to a series; what a power loss takes back is looked at again."""
        self._run(
            (
                "INSERT INTO undrift.observation (series, moment, text) VALUES (%s, %s, %s)",
                (series, moment.timestamp(), text),
            ),
            (
                "DELETE FROM undrift.observation WHERE id IN (SELECT id FROM undrift.observation WHERE series = %s "
                "ORDER BY moment DESC, id DESC OFFSET %s)",
                (series, keep),
            ),
        )

    def observed(self, series: str, *, limit: int = 1000) -> list[Observation]:
        """Return the newest observations of a series."""
        rows = self._read(
            "SELECT moment, text FROM undrift.observation WHERE series = %s ORDER BY moment DESC, id DESC LIMIT %s",
            (series, limit),
        )
        return [Observation(moment=moment(seconds), text=text) for seconds, text in rows]
