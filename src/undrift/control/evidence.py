"""Golden sets, and the check of everything that can be checked without changing anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

from undrift.adapters.sqlite import sqlite_is_safe
from undrift.control.checkup import Checkup
from undrift.domain.route import AliasName
from undrift.errors import BadArgument, UndriftError
from undrift.flow.jsonl import open_lines, read_objects
from undrift.ports.inspection import SupportsInspection
from undrift.quality.golden import GoldenSet, parse_golden_set
from undrift.quality.ranking import measure


class Evidence(Checkup):
    """The verbs `golden` and `doctor`."""

    def import_golden(self, name: str, queries: Path, judgements: Path) -> dict[str, Any]:
        """Read a golden set from its two files and keep it in the ledger; one of that name is replaced.

        Raises:
            BadInputLine: a line of a file is not what it should be; nothing is kept.
        """
        with open_lines(queries) as asked, open_lines(judgements) as judged:
            golden = parse_golden_set(
                name,
                queries=read_objects(asked, str(queries)),
                queries_name=str(queries),
                judgements=judged,
                judgements_name=str(judgements),
            )
        self.ledger.save_golden(golden.name, golden.as_dict())
        return {
            "set": golden.name,
            "queries": len(golden.queries),
            "next_steps": [f"undrift golden run {golden.name} ALIAS"],
        }

    def golden_sets(self) -> list[dict[str, Any]]:
        """Return the golden sets that are kept."""
        contents = {name: self.ledger.golden(name) or {} for name in self.ledger.golden_names()}
        return [{"set": name, "queries": len(content.get("queries", []))} for name, content in contents.items()]

    def golden(self, name: str) -> GoldenSet:
        """Return a golden set.

        Raises:
            BadArgument: there is none of that name.
        """
        content = self.ledger.golden(name)
        if content is None:
            known = ", ".join(self.ledger.golden_names()) or "none"
            raise BadArgument(f"there is no golden set {name}", f"there are: {known}", "undrift golden import")
        return GoldenSet.from_dict(content)

    def run_golden(
        self,
        name: str,
        alias: str,
        *,
        k: int = 10,
        field: str = "serving",
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> dict[str, Any]:
        """Search for every golden query on one field and measure the answers.

        Args:
            name: the golden set.
            alias: whose documents are searched.
            k: how many hits of each query are looked at.
            field: `serving` or `follower`.
            on_progress: told how many queries are done, of how many.

        Raises:
            BadArgument: there is no such set or field.
        """
        golden = self.golden(name)
        route = self.router.join(AliasName(alias))
        place = {"serving": route.serving, "follower": route.follower}.get(field)
        if place is None:
            raise BadArgument(f"alias {alias} has no field {field!r} now", hint="--field serving")
        door, store = self.door_of(place.space), self.store_of(place)
        rankings = {}
        for number, query in enumerate(golden.queries, 1):
            hits = store.search(place, door.query(query.text), k=k)
            on_progress(number, len(golden.queries))
            rankings[query.id] = [(hit.id, hit.score) for hit in hits]
        return measure(golden, rankings, k=k).as_dict(place.space)

    def doctor(self) -> list[dict[str, str]]:
        """Look at the ledger, the stores, the models and the aliases; return what was found."""
        checks = []
        if self.plugins.uses_sqlite():
            checks.append(_check("sqlite", sqlite_is_safe(), apsw.sqlite_lib_version(), "pip install --upgrade apsw"))
        checks += self._ledger_checks()
        checks += [self._store_check(name) for name in sorted(self.config.settings.stores)]
        checks += [self._model_check(name) for name in sorted(self.config.settings.models)]
        try:
            for name in self.ledger.aliases():
                checks += [_check(one.check, one.ok, one.detail, one.hint) for one in self.alias_findings(name)]
        except UndriftError as error:
            checks.append(_check("aliases", False, error.message, error.hint))
        return checks

    def _ledger_checks(self) -> list[dict[str, str]]:
        try:
            if isinstance(self.ledger, SupportsInspection):
                found = self.ledger.inspect()
                return [_check(one.check, one.ok, one.detail, "" if one.ok else one.hint) for one in found]
            self.ledger.aliases()
        except UndriftError as error:
            return [_check("ledger", False, _told(error), error.hint)]
        return [_check("ledger", True, self.plugins.ledger_place(), "")]

    def _store_check(self, name: str) -> dict[str, str]:
        try:
            capabilities = self.plugins.store(name).capabilities
        except UndriftError as error:
            return _check(f"store {name}", False, error.message, error.hint)
        return _check(f"store {name}", True, capabilities.name, "")

    def _model_check(self, name: str) -> dict[str, str]:
        try:
            door = self.model_door(name)
            proven = self.ledger.space(door.space.id)
            if proven is None:
                return _check(f"model {name}", True, f"{door.space.id}, not used yet", "")
            self.door_of(door.space.id)
        except UndriftError as error:
            return _check(f"model {name}", False, error.message, error.hint)
        return _check(f"model {name}", True, f"{door.space.id}, proven by its probe texts", "")


def _told(error: UndriftError) -> str:
    return f"{error.message}\n{error.detail}" if error.detail else error.message


def _check(name: str, ok: bool, detail: str, hint: str) -> dict[str, str]:  # noqa: FBT001
    return {"check": name, "verdict": "ok" if ok else "bad", "detail": detail, "hint": hint}
