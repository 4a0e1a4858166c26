"""Where a migration is to lead: to a model, to a store, to both, and into which field."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from undrift.control.documents import Documents
from undrift.control.terms import Terms, terms_of
from undrift.domain.catalogue import Catalogue
from undrift.domain.migration import Migration, MigrationId
from undrift.domain.route import AliasName, Route, VectorField
from undrift.domain.space import SpaceId
from undrift.errors import BadArgument, FieldInUse, SpaceMismatch, StaleRoute
from undrift.flow.embed import EmbeddingDoor
from undrift.migrate.naming import target_address
from undrift.migrate.preflight import layout_word, require_fit, require_layout, require_strong_reads
from undrift.ports.store import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What somebody asks for; None where it is not said.

    Attributes:
        to: the model; the one that serves stays when only a store is named.
        to_store: the store; the one it is in by default.
        collection: the new collection's address; one that says what is in it by default.
        layout: where the target's vectors are put; into a collection of their own by default.
    """

    to: str | None
    to_store: str | None
    collection: str | None
    layout: Layout | None

    def is_that_of(self, running: Migration) -> bool:
        """Whether a running migration leads there.

        Raises:
            StaleRoute: it does, but in another layout.
        """
        store = running.source.store if self.to_store is None else self.to_store
        place = (store, self.collection or running.target.collection)
        is_same = place == (running.target.store, running.target.collection) and (
            running.copies if self.to is None else running.target_model == self.to
        )
        if running.is_selftest or not is_same:
            return False
        has = layout_of(running.source, running.target)
        if self.layout not in (None, has):
            raise StaleRoute(
                f"alias {running.alias} has a migration to {running.aim} already, in the layout {layout_word(has)}",
                hint=f"undrift cancel {running.alias} --drop, or leave --layout out",
            )
        return True

    @property
    def options(self) -> str:
        """What a command needs besides the model and the store to name the same aim."""
        named = "" if self.collection is None else f" --collection {self.collection}"
        layout = f" --layout {layout_word(self.layout)}" if self.layout not in (None, Layout.COLLECTION) else ""
        return named + layout


class Aiming(Documents):
    """Make a migration of what somebody asks for, without recording anything."""

    def _aim(self, name: str, aim: Aim) -> tuple[Migration, EmbeddingDoor]:
        """Return the migration that somebody asks for, recorded nowhere yet, and the door to its model."""
        alias = AliasName(name)
        self.alias(name)
        route = self.router.refresh(alias)
        serving = route.serving
        model = aim.to if aim.to is not None else self._model_behind(serving.space)
        store = serving.store if aim.to_store is None else aim.to_store
        there = self.plugins.store(store)
        door = self.model_door(model)
        if (door.space.id, store) == (serving.space, serving.store):
            raise BadArgument(
                f"alias {name} serves {serving.space} in store {serving.store} already"
                + ("" if aim.to is None else f", which is what model {aim.to} computes"),
                "a migration leads to another model, to another store, or to both",
                f"undrift alias show {name}",
            )
        require_strong_reads(self.store_of(serving), there)
        require_fit(there, door.space, model=model)
        require_layout(there, aim.layout or Layout.COLLECTION)
        target = self._target(route, store, aim, door.space.id)
        # A collection that somebody names may be another vector of the same records.
        require_layout(there, layout_of(serving, target))
        migration = Migration(
            id=MigrationId(uuid.uuid4().hex[:12]),
            alias=alias,
            source=serving,
            target=target,
            target_model=model,
            usd_per_million_tokens=self._price(model, door),
            started=self.clock.now(),
        )
        return migration, door

    def terms(self, model: str, door: EmbeddingDoor, catalogue: Catalogue, *, tier: str | None = None) -> Terms:
        """Return what a configured model costs, and how fast it may be asked."""
        return terms_of(self.own_space(model), door.limits, self.model_settings(model), catalogue, tier=tier)

    def _price(self, model: str, door: EmbeddingDoor) -> float:
        """Return the price that a budget in dollars is reckoned with; 0 where there is none, or nobody knows."""
        if not door.limits.paid:
            return door.limits.usd_per_million_tokens
        return self.terms(model, door, self.plugins.catalogue()).online.usd or 0.0

    def _model_behind(self, space: SpaceId) -> str:
        """Return the configured model that computes a recorded space."""
        known = self.ledger.space(space)
        if known is None:
            raise SpaceMismatch(f"the ledger has no space {space}", hint="undrift doctor")
        return self._model_of(known)

    def _target(self, route: Route, store: str, aim: Aim, space: SpaceId) -> VectorField:
        """Return the field that a migration would fill."""
        beside = aim.layout is Layout.IN_PLACE
        if beside and (store != route.serving.store or aim.collection is not None):
            raise BadArgument(
                f"vectors of {route.alias} can be put beside others only in the records that these are in",
                "another store, or a collection of its own, is another place",
                "leave --layout out",
            )
        if aim.collection is None:
            return self._free_field(route, route.alias, space, aim.layout or Layout.COLLECTION, store=store)
        return self._named_field(route, VectorField(store=store, collection=aim.collection, space=space))

    def _named_field(self, route: Route, field: VectorField) -> VectorField:
        """Return a field that somebody named, if it may be filled."""
        self._refuse_shared(field, route.alias)
        state = self.ledger.alias(route.alias)
        last = state.migration if state else None
        if last is not None and last.target.key == field.key:
            if not last.is_final:
                return field
            # Whoever gave that migration up may still be about to drop it.
            raise FieldInUse(
                f"{field.key} was the target of the last migration of {route.alias}",
                "a process that was late to drop it would hit that of the next one",
                "name another collection",
            )
        there = self.store_of(field).describe(field)
        if there is not None:
            raise FieldInUse(
                f"collection {field.collection} of store {field.store} is there already, with {there.count} records",
                "a migration fills a collection of its own",
                "name another collection, or none",
            )
        return field

    def _free_field(
        self,
        route: Route,
        name: str,
        space: SpaceId,
        layout: Layout = Layout.COLLECTION,
        *,
        store: str | None = None,
    ) -> VectorField:
        """Name a field that is not there: what an earlier migration left is not touched."""
        number = 1
        where = store or route.serving.store
        while True:
            address = target_address(
                route.serving.collection,
                name,
                space,
                layout,
                self.plugins.store(where).capabilities.names,
                epoch=route.epoch,
                number=number,
                moves=where != route.serving.store,
            )
            field = VectorField(store=where, collection=address, space=space)
            if self.store_of(field).describe(field) is None:
                return field
            number += 1


def layout_of(source: VectorField, target: VectorField) -> Layout:
    """Return where the target's vectors are, seen from the source."""
    return Layout.IN_PLACE if target.is_beside(source) else Layout.COLLECTION
