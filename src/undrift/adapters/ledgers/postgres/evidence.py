"""Verification, live settings, golden sets and the history."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from undrift.adapters.ledgers.postgres.session import Session, moment, seconds_of
from undrift.adapters.ledgers.postgres.session import enter as line
from undrift.domain.event import Entered
from undrift.domain.gate import VerificationReport
from undrift.domain.route import AliasName


class EvidenceTables(Session):
    """What was found, what was set, and what happened."""

    def save_verification(self, alias: AliasName, report: VerificationReport) -> None:
        """Keep what a comparison found beside its migration."""
        values = {**report.as_dict(), "max_sequence": report.max_sequence}
        self._run(
            (
                "UPDATE undrift.migration SET verification = %s "
                "WHERE id = (SELECT migration FROM undrift.alias WHERE name = %s)",
                (json.dumps(values), alias),
            ),
            durable=True,
        )

    def verification(self, alias: AliasName) -> VerificationReport | None:
        """Return the last comparison of the present migration."""
        rows = self._read(
            "SELECT m.verification FROM undrift.migration AS m JOIN undrift.alias AS a ON a.migration = m.id "
            "WHERE a.name = %s",
            (alias,),
        )
        if not rows or not rows[0][0]:
            return None
        return VerificationReport.from_dict(json.loads(rows[0][0]))

    def save_bookmark(self, alias: AliasName, name: str, content: Mapping[str, Any] | None) -> None:
        """Keep or forget how far a comparison has come; what a power loss takes back is compared again."""
        if content is None:
            self._run(
                (
                    "DELETE FROM undrift.bookmark AS b USING undrift.alias AS a "
                    "WHERE b.migration = a.migration AND b.name = %s AND a.name = %s",
                    (name, alias),
                )
            )
            return
        self._run(
            (
                "INSERT INTO undrift.bookmark (migration, name, content) SELECT a.migration, %s, %s "
                "FROM undrift.alias AS a WHERE a.name = %s AND a.migration IS NOT NULL "
                "ON CONFLICT (migration, name) DO UPDATE SET content = excluded.content",
                (name, json.dumps(content), alias),
            )
        )

    def bookmark(self, alias: AliasName, name: str) -> dict[str, Any] | None:
        """Return what was kept under a name."""
        rows = self._read(
            "SELECT b.content FROM undrift.bookmark AS b JOIN undrift.alias AS a ON a.migration = b.migration "
            "WHERE b.name = %s AND a.name = %s",
            (name, alias),
        )
        return json.loads(rows[0][0]) if rows else None

    def tune(self, alias: AliasName, values: Mapping[str, str]) -> None:
        """Set live settings."""
        keys = sorted(values)
        self._run(
            (
                "INSERT INTO undrift.tuning (alias, key, value) "
                "SELECT %s, given.key, given.value FROM unnest(%s::text[], %s::text[]) AS given (key, value) "
                "ON CONFLICT (alias, key) DO UPDATE SET value = excluded.value",
                (alias, keys, [values[key] for key in keys]),
            ),
            durable=True,
        )

    def tuning(self, alias: AliasName) -> dict[str, str]:
        """Return live settings."""
        return dict(self._read("SELECT key, value FROM undrift.tuning WHERE alias = %s ORDER BY key", (alias,)))

    def save_golden(self, name: str, content: Mapping[str, Any]) -> None:
        """Keep a golden set."""
        self._run(
            (
                "INSERT INTO undrift.golden (name, content) VALUES (%s, %s) "
                "ON CONFLICT (name) DO UPDATE SET content = excluded.content",
                (name, json.dumps(content)),
            ),
            durable=True,
        )

    def golden(self, name: str) -> dict[str, Any] | None:
        """Return a golden set."""
        rows = self._read("SELECT content FROM undrift.golden WHERE name = %s", (name,))
        return json.loads(rows[0][0]) if rows else None

    def golden_names(self) -> list[str]:
        """Return the names of the golden sets."""
        return [name for (name,) in self._read("SELECT name FROM undrift.golden ORDER BY name")]

    def enter(self, alias: AliasName, *, who: str, action: str, detail: str) -> None:
        """Add a line to the history."""
        route, _ = self._route(alias)
        self._run(line(alias=alias, who=who, action=action, epoch=route.epoch, detail=detail), durable=True)

    def history(self, alias: AliasName, *, limit: int = 100) -> list[Entered]:
        """Return what happened to an alias, newest first."""
        rows = self._read(
            f"SELECT {seconds_of('at')}, who, action, epoch, detail FROM undrift.history "
            "WHERE alias = %s ORDER BY id DESC LIMIT %s",
            (alias, limit),
        )
        return [
            Entered(at=moment(at), who=who, action=action, epoch=epoch, detail=detail)
            for at, who, action, epoch, detail in rows
        ]
