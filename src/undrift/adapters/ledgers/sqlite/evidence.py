"""Verification, live settings, golden sets and the history."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from undrift.adapters.ledgers.sqlite.session import Session
from undrift.adapters.sqlite import Durability
from undrift.domain.event import Entered
from undrift.domain.gate import VerificationReport
from undrift.domain.route import AliasName


class EvidenceTables(Session):
    """What was found, what was set, and what happened."""

    def save_verification(self, alias: AliasName, report: VerificationReport) -> None:
        """Keep what a comparison found beside its migration."""
        values = {**report.as_dict(), "max_sequence": report.max_sequence}
        with self._write(Durability.FULL) as connection:
            connection.execute(
                "UPDATE migration SET verification = ? WHERE id = (SELECT migration FROM alias WHERE name = ?)",
                (json.dumps(values), alias),
            )

    def verification(self, alias: AliasName) -> VerificationReport | None:
        """Return the last comparison of the present migration."""
        rows = self._read(
            "SELECT verification FROM migration WHERE id = (SELECT migration FROM alias WHERE name = ?)", (alias,)
        )
        if not rows or not rows[0][0]:
            return None
        return VerificationReport.from_dict(json.loads(rows[0][0]))

    def save_bookmark(self, alias: AliasName, name: str, content: Mapping[str, Any] | None) -> None:
        """Keep or forget how far a comparison has come; what a power loss takes back is compared again."""
        with self._write(Durability.NORMAL) as connection:
            if content is None:
                connection.execute(
                    "DELETE FROM bookmark WHERE name = ? AND migration = (SELECT migration FROM alias WHERE name = ?)",
                    (name, alias),
                )
                return
            connection.execute(
                "INSERT INTO bookmark (migration, name, content) SELECT migration, ?, ? FROM alias "
                "WHERE name = ? AND migration IS NOT NULL "
                "ON CONFLICT (migration, name) DO UPDATE SET content = excluded.content",
                (name, json.dumps(content), alias),
            )

    def bookmark(self, alias: AliasName, name: str) -> dict[str, Any] | None:
        """Return what was kept under a name."""
        rows = self._read(
            "SELECT content FROM bookmark WHERE name = ? AND migration = (SELECT migration FROM alias WHERE name = ?)",
            (name, alias),
        )
        return json.loads(rows[0][0]) if rows else None

    def tune(self, alias: AliasName, values: Mapping[str, str]) -> None:
        """Set live settings."""
        with self._write(Durability.FULL) as connection:
            connection.executemany(
                "INSERT INTO tuning (alias, key, value) VALUES (?, ?, ?) "
                "ON CONFLICT (alias, key) DO UPDATE SET value = excluded.value",
                [(alias, key, value) for key, value in values.items()],
            )

    def tuning(self, alias: AliasName) -> dict[str, str]:
        """Return live settings."""
        return dict(self._read("SELECT key, value FROM tuning WHERE alias = ? ORDER BY key", (alias,)))

    def save_golden(self, name: str, content: Mapping[str, Any]) -> None:
        """Keep a golden set."""
        with self._write(Durability.FULL) as connection:
            connection.execute(
                "INSERT INTO golden (name, content) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET content = "
                "excluded.content",
                (name, json.dumps(content)),
            )

    def golden(self, name: str) -> dict[str, Any] | None:
        """Return a golden set."""
        rows = self._read("SELECT content FROM golden WHERE name = ?", (name,))
        return json.loads(rows[0][0]) if rows else None

    def golden_names(self) -> list[str]:
        """Return the names of the golden sets."""
        return [name for (name,) in self._read("SELECT name FROM golden ORDER BY name")]

    def enter(self, alias: AliasName, *, who: str, action: str, detail: str) -> None:
        """Add a line to the history."""
        with self._write(Durability.FULL) as connection:
            route, _ = self._route(alias)
            self._enter(connection, alias=alias, who=who, action=action, epoch=route.epoch, detail=detail)

    def history(self, alias: AliasName, *, limit: int = 100) -> list[Entered]:
        """Return what happened to an alias, newest first."""
        rows = self._read(
            "SELECT at, who, action, epoch, detail FROM history WHERE alias = ? ORDER BY id DESC LIMIT ?",
            (alias, limit),
        )
        return [
            Entered(at=datetime.fromisoformat(at), who=who, action=action, epoch=epoch, detail=detail)
            for at, who, action, epoch, detail in rows
        ]
