"""A ledger that leaves out one rule of the protocol does not pass the kit: each is planted into the one on SQLite."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.conformance.sqlite_ledger import SqliteLedgerBench
from undrift.adapters.ledgers.sqlite import SqliteLedger, backfill, clients, journal, memory, migrations, spending, sync
from undrift.errors import ConflictError, RefusedError
from undrift.testing.ledgers.backfill import BackfillRules
from undrift.testing.ledgers.bracket import BracketRules
from undrift.testing.ledgers.carrying import CarryingRules
from undrift.testing.ledgers.clients import ClientRules
from undrift.testing.ledgers.memory import MemoryRules
from undrift.testing.ledgers.migrations import MigrationRules
from undrift.testing.ledgers.routes import RouteRules
from undrift.testing.ledgers.spending import PaceRules, SpendingRules

MODULES = {
    module.__name__.rpartition(".")[2]: module
    for module in (backfill, clients, journal, memory, migrations, spending, sync)
}
#: The part of the kit that tries what a module keeps.
KITS: dict[str, tuple[type, ...]] = {
    "journal": (BracketRules,),
    "sync": (CarryingRules,),
    "clients": (ClientRules,),
    "backfill": (BackfillRules,),
    "memory": (MemoryRules,),
    "migrations": (MigrationRules, RouteRules),
    "spending": (SpendingRules, PaceRules, MigrationRules),
}


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A rule, the line that keeps it, and what stands there when it is forgotten."""

    rule: str
    module: str
    line: str
    instead: str


MISSING = (
    Missing(
        rule="mark before write",
        module="journal",
        line='"SELECT ?1, value, 1, ?2, ?3, 1, ?4 FROM json_each(?5) WHERE true "',
        instead='"SELECT ?1, value, 0, ?2, ?3, 1, ?4 FROM json_each(?5) WHERE true "',
    ),
    Missing(rule="foreign source waits", module="journal", line="if foreign:", instead="if False:"),
    Missing(
        rule="close bumps seq",
        module="journal",
        line='"UPDATE dirty SET seq = ?, open = max(open - 1, 0), ',
        instead='"UPDATE dirty SET seq = max(seq, ? * 0), open = max(open - 1, 0), ',
    ),
    Missing(
        rule="close checks reaped: no acknowledgement",
        module="journal",
        line="                return False\n            self._end",
        instead="                return True\n            self._end",
    ),
    Missing(
        rule="close checks reaped: the documents are dirty again",
        module="journal",
        line="if route.follower is not None:",
        instead="if route.follower == 0:",
    ),
    Missing(
        rule="close checks reaped: a claim loses its certainty",
        module="journal",
        line="keys, route.serving.key, bump_dirty=True",
        instead="keys, route.serving.key, bump_dirty=False",
    ),
    Missing(
        rule="close after a flip keeps the source",
        module="journal",
        line="source = iif(state = 1, source, excluded.source)",
        instead="source = excluded.source",
    ),
    Missing(
        rule="reap waits D",
        module="journal",
        line='no request in flight any more."""\n        now = self._time()',
        instead='no request in flight any more."""\n        now = self._time() + settle_s',
    ),
    Missing(rule="clear needs no open", module="sync", line=" AND open = 0, 0, 1)", instead=", 0, 1)"),
    Missing(
        rule="clear needs same seq",
        module="sync",
        line="iif(seq = json_extract(given.value, '$[1]') AND open = 0, 0, 1)",
        instead="iif(open = 0, 0, 1)",
    ),
    Missing(
        rule="a claim is one owner's",
        module="sync",
        line="AND (claim IS NULL OR claim_expires < :settled)",
        instead="AND (claim IS NULL OR claim_expires < :settled OR true)",
    ),
    Missing(
        rule="takeover of a claim waits D",
        module="sync",
        line="claim_expires < :settled",
        instead="claim_expires < :now",
    ),
    Missing(
        rule="sync defers publish",
        module="sync",
        line="AND chunk.state = :publishing",
        instead="AND chunk.state = 99 AND chunk.state != :publishing",
    ),
    Missing(
        rule="drain before back-fill: nothing is carried",
        module="sync",
        line='f"  AND phase IN ({phases}) AND (run_status',
        instead='f"  AND (run_status',
    ),
    Missing(
        rule="drain before back-fill: clients are awaited",
        module="clients",
        line='_INFO + " AND ack.epoch < :epoch"',
        instead='_INFO + " AND ack.epoch < :epoch AND lease_expires > :now"',
    ),
    Missing(
        rule="a client that was given up begins again",
        module="clients",
        line="return connection.changes() == len(acknowledged)",
        instead="return True",
    ),
    Missing(
        rule="only the alias that waited gives a client up",
        module="clients",
        line='"DELETE FROM ack WHERE alias = ? AND client',
        instead='"DELETE FROM ack WHERE alias >= substr(?, 1, 0) AND client',
    ),
    Missing(
        rule="publish skips touched",
        module="backfill",
        line="return [key for key in keys if key not in touched]",
        instead="return list(keys)",
    ),
    Missing(
        rule="publish skips touched: clean ones too",
        module="backfill",
        line='"SELECT key FROM dirty WHERE alias = ? AND key',
        instead='"SELECT key FROM dirty WHERE state = 1 AND alias = ? AND key',
    ),
    Missing(
        rule="takeover of a piece waits D",
        module="backfill",
        line="(state = 2 AND expires + ?3 < ?2)",
        instead="(state = 2 AND expires + ?3 * 0 < ?2)",
    ),
    Missing(
        rule="a piece is published under its fence",
        module="backfill",
        line="AND number = ? AND fence = ? AND owner = ? AND state = ?",
        instead="AND number = ? AND fence >= ? * 0 AND owner = ? AND state = ?",
    ),
    Missing(
        rule="a pause stops the back-fill",
        module="backfill",
        line="""f"AND run_status = '{RunStatus.RUNNING.value}')\"""",
        instead='")"',
    ),
    Missing(
        rule="pieces leave no gap",
        module="backfill",
        line="if chunks and (chunks[0].number, chunks[0].lo) != (number + 1, hi):",
        instead="if chunks and chunks[0].number != number + 1:",
    ),
    Missing(
        rule="no migration begins while writes are open",
        module="migrations",
        line="if running or open_operations or",
        instead="if running or",
    ),
    Missing(
        rule="a flip looks again at what is dirty",
        module="migrations",
        line="            self._recheck(connection, route.alias, max_dirty, max_quarantined)\n",
        instead="",
    ),
    Missing(
        rule="a route is changed by compare-and-swap",
        module="migrations",
        line='"WHERE name = ? AND epoch = ?",\n                (\n',
        instead='"WHERE name = ? AND epoch >= ? * 0",\n                (\n',
    ),
    Missing(
        rule="a phase is changed by compare-and-swap",
        module="migrations",
        line="WHERE id = ? AND phase = ?",
        instead="WHERE id = ? AND phase >= substr(?, 1, 0)",
    ),
    Missing(
        rule="a budget is looked at with every request",
        module="spending",
        line="if tokens > 0 and room_for(found, tokens, under_way=0) is not Room.NOW:",
        instead="if False:",
    ),
    Missing(
        rule="a request that the budget cannot pay is not sent",
        module="spending",
        line="if room is Room.NEVER:",
        instead="if False:",
    ),
    Missing(
        rule="a request waits for what others may give back",
        module="spending",
        line="if room is Room.LATER:",
        instead="if False:",
    ),
    Missing(
        rule="what was billed replaces what was put aside",
        module="spending",
        line="_add(connection, migration, billed - reserved)",
        instead="_add(connection, migration, 0)",
    ),
    Missing(
        rule="a price that rose stays risen",
        module="spending",
        line="if usd_per_million_tokens <= found.usd_per_million_tokens:",
        instead="if False:",
    ),
    Missing(
        rule="one process coordinates",
        module="migrations",
        line="OR coordinator = ?1 OR coordinator_expires < ?4)",
        instead="OR coordinator = ?1 OR coordinator_expires < ?4 OR true)",
    ),
    Missing(
        rule="a memo is written only over what was read",
        module="memory",
        line="if (found[0] if found else 0) != version:",
        instead="if version and not found:",
    ),
    Missing(
        rule="a memo is forgotten only as it was read",
        module="memory",
        line="WHERE key = ? AND version = ? RETURNING version",
        instead="WHERE key = ? AND version >= ? RETURNING version",
    ),
    Missing(
        rule="a series keeps what was asked for",
        module="memory",
        line='"ORDER BY moment DESC, id DESC LIMIT -1 OFFSET ?)",',
        instead='"ORDER BY id DESC LIMIT -1 OFFSET ?)",',
    ),
)


def without(missing: Missing) -> type[SqliteLedger]:
    """The SQLite ledger, with one line of it replaced."""
    original = MODULES[missing.module]
    text = inspect.getsource(original)
    assert text.count(missing.line) == 1, f"{missing.line!r} is not, or not once, in {original.__name__}"
    changed = ModuleType(original.__name__)
    exec(compile(text.replace(missing.line, missing.instead), str(original.__file__), "exec"), changed.__dict__)
    parts = tuple(getattr(changed, part.__name__, part) for part in SqliteLedger.__bases__)
    return type("Planted", parts, {})


def cases(*kits: type) -> Iterator[tuple[str, Callable[[Any], None]]]:
    """Every test of a part of the kit that needs a bench only, each with each of its parameters."""
    for kit in kits:
        for name, function in inspect.getmembers(kit, inspect.isfunction):
            parameters = [one.args for one in getattr(function, "pytestmark", []) if one.name == "parametrize"]
            names = [_names(given) for given, _ in parameters]
            asked = set(inspect.signature(function).parameters) - {"self", "bench"}
            if not name.startswith("test_") or asked != {one for some in names for one in some}:
                continue
            for values in product(*(given for _, given in parameters)):
                pairs = [
                    pair
                    for some, value in zip(names, values, strict=True)
                    for pair in zip(some, value if len(some) > 1 else [value], strict=True)
                ]
                yield name, lambda bench, run=function, kit=kit, given=dict(pairs): run(kit(), bench, **given)


def _names(given: Any) -> list[str]:
    return [one.strip() for one in given.split(",")] if isinstance(given, str) else list(given)


def first_fall(kind: type[SqliteLedger], folder: Path, *kits: type) -> str:
    """The first test that a ledger does not pass; empty when it passes all."""
    for number, (name, run) in enumerate(cases(*kits)):
        bench = type("PlantedBench", (SqliteLedgerBench,), {"kind": kind})(folder / f"{number}.db")
        try:
            run(bench)
        except (AssertionError, pytest.fail.Exception, RefusedError, ConflictError):
            # Not a back-end's error: then the planted bug would be in its SQL, and say nothing about the rule.
            return name
        finally:
            bench.close()
    return ""


@pytest.mark.parametrize("module", KITS)
def test_the_whole_ledger_passes_what_the_others_are_tried_with(tmp_path: Path, module: str) -> None:
    assert first_fall(SqliteLedger, tmp_path, *KITS[module]) == ""


@pytest.mark.parametrize("missing", MISSING, ids=lambda missing: missing.rule)
def test_a_ledger_without_a_rule_falls(tmp_path: Path, missing: Missing) -> None:
    fallen = first_fall(without(missing), tmp_path, *KITS[missing.module])

    assert fallen, f"nothing notices that {missing.rule!r} is missing"
