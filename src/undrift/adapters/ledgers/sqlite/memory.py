"""What the look-out has seen and told: memos and series."""

from __future__ import annotations

from datetime import UTC, datetime

from undrift.adapters.ledgers.sqlite.session import Session, first
from undrift.adapters.sqlite import Durability
from undrift.ports.memory import Memo, Observation


class MemoryTables(Session):
    """One row a memo; its version is the row's number, of which none is ever given out again."""

    def recall(self, key: str) -> Memo | None:
        """Return the memo under a key."""
        rows = self._read("SELECT text, version FROM memo WHERE key = ?", (key,))
        return Memo(key=key, text=rows[0][0], version=rows[0][1]) if rows else None

    def recall_all(self, prefix: str) -> list[Memo]:
        """Return every memo whose key begins with a prefix."""
        rows = self._read(
            "SELECT key, text, version FROM memo WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key", (prefix,)
        )
        return [Memo(key=key, text=text, version=version) for key, text, version in rows]

    def remember(self, key: str, text: str, *, version: int) -> bool:
        """Write a memo; durably, because what was told would be told again."""
        with self._write(Durability.FULL) as connection:
            found = first(connection, "SELECT version FROM memo WHERE key = ?", (key,))
            if (found[0] if found else 0) != version:
                return False
            connection.execute("INSERT OR REPLACE INTO memo (key, text) VALUES (?, ?)", (key, text))
        return True

    def forget(self, key: str, *, version: int) -> bool:
        """Remove a memo."""
        with self._write(Durability.FULL) as connection:
            return bool(
                first(connection, "DELETE FROM memo WHERE key = ? AND version = ? RETURNING version", (key, version))
            )

    def observe(self, series: str, moment: datetime, text: str, *, keep: int) -> None:
        """Add to a series; what a power loss takes back is looked at again."""
        with self._write(Durability.NORMAL) as connection:
            connection.execute(
                "INSERT INTO observation (series, moment, text) VALUES (?, ?, ?)", (series, moment.timestamp(), text)
            )
            connection.execute(
                "DELETE FROM observation WHERE id IN (SELECT id FROM observation WHERE series = ? "
                "ORDER BY moment DESC, id DESC LIMIT -1 OFFSET ?)",
                (series, keep),
            )

    def observed(self, series: str, *, limit: int = 1000) -> list[Observation]:
        """Return the newest observations of a series."""
        rows = self._read(
            "SELECT moment, text FROM observation WHERE series = ? ORDER BY moment DESC, id DESC LIMIT ?",
            (series, limit),
        )
        return [Observation(moment=datetime.fromtimestamp(moment, UTC), text=text) for moment, text in rows]
