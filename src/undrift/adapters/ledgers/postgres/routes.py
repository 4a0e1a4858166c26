"""Spaces and aliases."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from undrift.adapters.ledgers.postgres.migrations import migration_columns, migration_from
from undrift.adapters.ledgers.postgres.session import ROUTE, Session, enter, field_text, route_from
from undrift.domain.migration import AliasState
from undrift.domain.route import AliasName, Mode, Route, VectorField
from undrift.domain.space import ProvenSpace, Space, SpaceId
from undrift.errors import AlreadyExists, UnknownAlias


class RouteTables(Session):
    """What is known of spaces, and what each alias means."""

    def record_space(self, proven: ProvenSpace) -> ProvenSpace:
        """Keep a space with its probe vectors, unless it is there."""
        probes = np.ascontiguousarray(proven.probes, dtype=np.float32)
        self._run(
            (
                "INSERT INTO undrift.space (id, definition, model, probes) VALUES (%s, %s, %s, %s) "
                "ON CONFLICT (id) DO NOTHING",
                (proven.space.id, json.dumps(proven.space.as_dict()), proven.model, probes.tobytes()),
            ),
            durable=True,
        )
        return self.space(proven.space.id) or proven

    def space(self, id: SpaceId) -> ProvenSpace | None:
        """Return a recorded space."""
        rows = self._read("SELECT definition, model, probes FROM undrift.space WHERE id = %s", (id,))
        return _proven(*rows[0]) if rows else None

    def spaces(self) -> list[ProvenSpace]:
        """Return every recorded space, by id."""
        return [_proven(*row) for row in self._read("SELECT definition, model, probes FROM undrift.space ORDER BY id")]

    def create_alias(self, name: AliasName, serving: VectorField, *, model: str, mirror: str) -> Route:
        """Record an alias in passive mode at epoch 1."""

        def work(connection: Any) -> None:
            made = connection.execute(
                "INSERT INTO undrift.alias (name, serving, serving_key, mode, epoch, model, mirror) "
                "VALUES (%s, %s, %s, %s, 1, %s, %s) ON CONFLICT (name) DO NOTHING",
                (name, field_text(serving), serving.key, Mode.PASSIVE.value, model, mirror),
            )
            if not made.rowcount:
                raise AlreadyExists(f"there is an alias {name} already", hint=f"undrift alias show {name}")
            connection.execute(*enter(alias=name, who="", action="alias_created", epoch=1, detail=serving.key))

        self._transact(work, durable=True)
        return Route(alias=name, epoch=1, mode=Mode.PASSIVE, serving=serving)

    def alias(self, name: AliasName) -> AliasState | None:
        """Return everything about an alias, read at one moment."""
        rows = self._read(
            f"WITH a AS (SELECT {ROUTE}, sequence, model, mirror, needs_reconcile, migration FROM undrift.alias "
            f"  WHERE name = %s) SELECT a.*, {migration_columns('m')} FROM a "
            "LEFT JOIN undrift.migration AS m ON m.id = a.migration",
            (name,),
        )
        if not rows:
            return None
        serving, follower, mode, epoch, sequence, model, mirror, needs_reconcile, _, *migration = rows[0]
        return AliasState(
            route=route_from(name, serving, follower, mode, epoch),
            migration=migration_from(tuple(migration)) if migration[0] else None,
            sequence=sequence,
            model=model,
            mirror=mirror,
            needs_reconcile=needs_reconcile,
        )

    def aliases(self) -> list[AliasName]:
        """Return the names of all aliases."""
        return [AliasName(name) for (name,) in self._read("SELECT name FROM undrift.alias ORDER BY name")]

    def route(self, name: AliasName) -> Route | None:
        """Return what an alias means now."""
        try:
            return self._route(name)[0]
        except UnknownAlias:
            return None


def _proven(definition: str, model: str, probes: bytes) -> ProvenSpace:
    space = Space.from_dict(json.loads(definition))
    vectors = np.frombuffer(probes, dtype=np.float32).reshape(-1, space.dimensions)
    return ProvenSpace(space=space, model=model, probes=vectors)
