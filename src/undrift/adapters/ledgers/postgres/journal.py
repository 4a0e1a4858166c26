"""The bracket around a write: open, close, reap; each is a function of functions.sql, called in one statement."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from undrift.adapters.ledgers.postgres.session import Session, array_of, route_from, unknown
from undrift.domain.checkpoint import Lag
from undrift.domain.client import ClientId
from undrift.domain.operation import Foreign, Held, Opened, OpenResult, OperationId, Passive
from undrift.domain.record import DocumentId
from undrift.domain.route import AliasName, FieldKey


class JournalTables(Session):
    """Dirty documents and the operations that make them so. A row in `op` exists exactly while an operation is open."""

    def open(self, alias: AliasName, keys: Sequence[DocumentId], *, client: ClientId, deadline_s: float) -> OpenResult:
        """Mark documents dirty before the store is asked to change them."""
        outcome, operation, sequence, serving, follower, mode, epoch, waiting = self._call(
            "SELECT outcome, operation, sequence, serving, follower, mode, epoch, array_to_json(waiting) "
            "FROM undrift.open{alone}($1, $2::text[], $3, $4::float8)",
            (alias, array_of(keys), client, repr(float(deadline_s))),
            durable=True,
        )
        there = route_from(alias, serving or "", follower, mode or "", int(epoch or 0))
        match outcome:
            case "opened":
                return Opened(operation=OperationId(int(operation or 0)), route=there, sequence=int(sequence or 0))
            case "passive":
                return Passive(route=there)
            case "held":
                return Held(route=there)
            case _:
                return Foreign(route=there, keys=tuple(map(DocumentId, json.loads(waiting or "[]"))))

    def close(self, alias: AliasName, operation: OperationId, keys: Sequence[DocumentId]) -> bool:
        """End an operation, or mark its documents again when somebody else already ended it."""
        (closed,) = self._call(
            "SELECT undrift.close{alone}($1, $2::bigint, $3::text[])",
            (alias, str(operation), array_of(keys)),
            durable=False,
        )
        return closed == "t"

    def reap(self, alias: AliasName, settle_s: float) -> int:
        """Close operations that can have no request in flight any more."""
        late = self._read(
            "SELECT 1 FROM undrift.op WHERE alias = %s AND deadline + %s < (SELECT undrift.now()) LIMIT 1",
            (alias, float(settle_s)),
        )
        if not late:
            return 0
        (((reaped,),),) = self._run(("SELECT undrift.reap(%s, %s)", (alias, float(settle_s))))
        return int(reaped)

    def mark(self, alias: AliasName, keys: Sequence[DocumentId], *, source: FieldKey | None = None) -> None:
        """Make documents dirty to heal a difference."""
        if source is None:
            self._run(("SELECT undrift.mark(undrift.bump(%s), %s::text[], false)", (alias, list(keys))))
            return
        # The name of the serving field is what `mark` takes for the source of the truth.
        self._run(
            (
                "SELECT undrift.mark(json_populate_record(b, json_build_object('serving_key', %s::text)), "
                "%s::text[], false) FROM undrift.bump(%s) AS b",
                (source, list(keys), alias),
            )
        )

    def journal_state(self, alias: AliasName, keys: Iterable[DocumentId]) -> dict[DocumentId, tuple[bool, int]]:
        """Return which of the keys were touched."""
        rows = self._read(
            "SELECT key, state = 1, seq FROM undrift.dirty WHERE alias = %s AND key = ANY (%s::text[])",
            (alias, list(keys)),
        )
        return {DocumentId(key): (dirty, seq) for key, dirty, seq in rows}

    def touched(self, alias: AliasName, *, after: int) -> int:
        """Return how many documents have a later number."""
        ((count,),) = self._read("SELECT count(*) FROM undrift.dirty WHERE alias = %s AND seq > %s", (alias, after))
        return int(count)

    def require_reconcile(self, alias: AliasName, reason: str, *, sequence: int) -> None:
        """Keep a cutover from happening before both fields were compared, and never give out a number twice."""
        self._run(
            (
                "UPDATE undrift.alias SET needs_reconcile = %s, sequence = greatest(sequence, %s) WHERE name = %s",
                (reason, sequence, alias),
            ),
            durable=True,
        )

    def reconciled(self, alias: AliasName) -> None:
        """Record that both fields were compared and are equal."""
        self._run(("UPDATE undrift.alias SET needs_reconcile = '' WHERE name = %s", (alias,)), durable=True)

    def lag(self, alias: AliasName) -> Lag:
        """Return how far the follower is behind, at one moment."""
        rows = self._read(
            "SELECT d.dirty, d.away, (SELECT count(*) FROM undrift.op WHERE alias = a.name), undrift.now() - d.oldest, "
            "o.client, o.deadline - undrift.now() "
            "FROM undrift.alias AS a LEFT JOIN LATERAL (SELECT client, deadline FROM undrift.op WHERE alias = a.name "
            "  ORDER BY deadline DESC LIMIT 1) AS o ON true "
            "CROSS JOIN LATERAL (SELECT count(*) AS dirty, min(since) AS oldest, "
            "  count(*) FILTER (WHERE source <> a.serving_key) AS away "
            "  FROM undrift.dirty WHERE alias = a.name AND state = 1 AND a.follower IS NOT NULL) AS d "
            "WHERE a.name = %s",
            (alias,),
        )
        if not rows:
            raise unknown(alias)
        ((dirty, foreign, operations, age, slowest, left),) = rows
        return Lag(
            dirty=dirty,
            foreign=foreign,
            open=operations,
            oldest_s=None if age is None else max(0.0, age),
            slowest=slowest or "",
            slowest_s=left or 0.0,
        )
