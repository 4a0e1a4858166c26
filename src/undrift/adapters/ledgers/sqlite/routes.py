"""Spaces and aliases."""

from __future__ import annotations

import json

import numpy as np

from undrift.adapters.ledgers.sqlite.migrations import MIGRATION_COLUMNS, migration_from
from undrift.adapters.ledgers.sqlite.session import Session, field_text
from undrift.adapters.sqlite import Durability
from undrift.domain.migration import AliasState
from undrift.domain.route import AliasName, Mode, Route, VectorField
from undrift.domain.space import ProvenSpace, Space, SpaceId
from undrift.errors import AlreadyExists, UnknownAlias

#: An alias with its migration; read by `alias`.
_SELECT_STATE = (
    "SELECT a.serving, a.follower, a.mode, a.epoch, a.hold_until, a.sequence, a.model, a.mirror, a.needs_reconcile, "
    f"{MIGRATION_COLUMNS} FROM alias AS a LEFT JOIN migration ON migration.id = a.migration "
    "LEFT JOIN repriced ON repriced.migration = migration.id WHERE a.name = ?"
)


class RouteTables(Session):
    """What is known of spaces, and what each alias means."""

    def record_space(self, proven: ProvenSpace) -> ProvenSpace:
        """Keep a space with its probe vectors, unless it is there."""
        probes = np.ascontiguousarray(proven.probes, dtype=np.float32)
        with self._write(Durability.FULL) as connection:
            connection.execute(
                "INSERT INTO space (id, definition, model, probes) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
                (proven.space.id, json.dumps(proven.space.as_dict()), proven.model, probes.tobytes()),
            )
        return self.space(proven.space.id) or proven

    def space(self, id: SpaceId) -> ProvenSpace | None:
        """Return a recorded space."""
        rows = self._read("SELECT definition, model, probes FROM space WHERE id = ?", (id,))
        return _proven(*rows[0]) if rows else None

    def spaces(self) -> list[ProvenSpace]:
        """Return every recorded space, by id."""
        return [_proven(*row) for row in self._read("SELECT definition, model, probes FROM space ORDER BY id")]

    def create_alias(self, name: AliasName, serving: VectorField, *, model: str, mirror: str) -> Route:
        """Record an alias in passive mode at epoch 1."""
        with self._write(Durability.FULL) as connection:
            if connection.execute("SELECT 1 FROM alias WHERE name = ?", (name,)).fetchone():
                raise AlreadyExists(f"there is an alias {name} already", hint=f"undrift alias show {name}")
            connection.execute(
                "INSERT INTO alias (name, serving, mode, epoch, model, mirror) VALUES (?, ?, ?, 1, ?, ?)",
                (name, field_text(serving), Mode.PASSIVE.value, model, mirror),
            )
            self._enter(connection, alias=name, who="", action="alias_created", epoch=1, detail=serving.key)
        return Route(alias=name, epoch=1, mode=Mode.PASSIVE, serving=serving)

    def alias(self, name: AliasName) -> AliasState | None:
        """Return everything about an alias, read at one moment."""
        # Workers ask before each call of a store or a model, so it is one statement: that is one moment, and cheap.
        rows = self._read(_SELECT_STATE, (name,))
        if not rows:
            return None
        route, (sequence, model, mirror, needs_reconcile, *migration) = rows[0][:5], rows[0][5:]
        return AliasState(
            route=self._route_from(name, route),
            migration=migration_from(tuple(migration)) if migration[0] is not None else None,
            sequence=sequence,
            model=model,
            mirror=mirror,
            needs_reconcile=needs_reconcile,
        )

    def aliases(self) -> list[AliasName]:
        """Return the names of all aliases."""
        return [AliasName(name) for (name,) in self._read("SELECT name FROM alias ORDER BY name")]

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
