"""Aliases, their documents, and the models behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from undrift.config import Config
from undrift.control.wiring import Wiring
from undrift.domain.route import AliasName, VectorField
from undrift.domain.shape import split_address
from undrift.errors import AlreadyExists, BadArgument, FieldInUse, UnknownAlias
from undrift.flow.alias import WRITE_BATCH, Alias
from undrift.flow.journal import Journal
from undrift.flow.jsonl import batches, document_line, open_documents
from undrift.migrate.sync import settle
from undrift.ports.store import Filter, SupportsNames

#: Records read from the store at a time by an export.
_PAGE = 500


class Documents(Wiring):
    """The verbs about models, aliases and documents."""

    def add_model(self, name: str, provider: str, options: dict[str, Any]) -> dict[str, Any]:
        """Add a model to the configuration file, after it has embedded the probe texts.

        Raises:
            BadConfig: the file has such a model, or an option is unknown.
        """
        before = self.config
        self._reconfigure(before.with_table("models", name, {"provider": provider, **options}))
        try:
            shown = self.show_model(name)
            self.config.save()
        except BaseException:
            self._reconfigure(before)
            raise
        return shown

    def models(self) -> list[dict[str, Any]]:
        """Return the configured models, without calling any of them."""
        return [
            {"name": name, "provider": settings.provider, **settings.options}
            for name, settings in sorted(self.config.settings.models.items())
        ]

    def show_model(self, name: str) -> dict[str, Any]:
        """Return a model with its space, recorded in the ledger if it is new, and the fields that are of that space."""
        settings = self.model_settings(name)
        proven = self.recorded(name)
        self.door_of(proven.space.id)
        limits = self.model_door(name).limits
        serving = [alias for alias in self.ledger.aliases() if self._serves(alias) == proven.space.id]
        return {
            "name": name,
            "provider": settings.provider,
            "space": proven.space.id,
            **proven.space.as_dict(),
            "paid": limits.paid,
            "usd_per_million_tokens": limits.usd_per_million_tokens,
            "serves": serving,
        }

    def create_alias(
        self, name: str, *, store: str, collection: str, model: str, mirror: str = "journal"
    ) -> dict[str, Any]:
        """Make an empty collection under a new alias, and add it to the configuration file.

        Raises:
            AlreadyExists: there is such an alias.
            FieldInUse: the store has such a collection.
        """
        if self.ledger.alias(AliasName(name)) is not None:
            raise AlreadyExists(f"there is an alias {name} already", hint=f"undrift alias show {name}")
        if name in self.config.settings.aliases:
            self.alias(name)
            return self.show_alias(name)
        self.model_settings(model)
        self.plugins.store(store)
        before = self.config
        values = {"store": store, "collection": collection, "model": model, "mirror": mirror}
        self._reconfigure(before.with_table("aliases", name, values))
        try:
            self.alias(name)
        except BaseException:
            self._reconfigure(before)
            raise
        self.config.save()
        return self.show_alias(name)

    def alias(self, name: str) -> Alias:
        """Return an alias to read and write; one that is configured but new is made, with an empty collection.

        Raises:
            UnknownAlias: neither the ledger nor the configuration knows it.
            FieldInUse: it is new, and its collection is there already.
        """
        alias = AliasName(name)
        if self.ledger.route(alias) is None:
            self._make(alias)
        route = self.router.join(alias)
        journal = Journal(
            alias,
            ledger=self.ledger,
            router=self.router,
            store_of=self.store_of,
            clock=self.clock,
            timing=self.timing,
        )
        inline = self.ledger.alias(alias)
        mirror = None
        if inline is not None and inline.mirror == "inline":
            mirror = partial(settle, self.workshop(route.alias), timeout_s=self.timing.write_timeout_s)
        return Alias(
            alias,
            router=self.router,
            journal=journal,
            store_of=self.store_of,
            door_of=self.door_of,
            mirror=mirror,
            traffic=self.traffic_of(alias),
        )

    def alias_for(self, name: str, domain: str | None = None) -> Alias:
        """Return the one alias that answers the queries of a domain.

        Args:
            name: the name of `[domains.NAME]`, or an alias, which has no domains.
            domain: the domain; None when nobody knows it, and the fallback answers.

        Raises:
            BadArgument: there is no such domain, and no fallback is declared.
            UnknownAlias: the name is neither.
        """
        settings = self.config.settings.domains.get(name)
        if settings is not None:
            return self.alias(settings.as_domains(name).alias_of(domain))
        if domain is not None:
            known = ", ".join(sorted(self.config.settings.domains)) or "none"
            raise BadArgument(
                f"{name} has no domains",
                f"domains are configured under: {known}",
                f"leave the domain out, or add [domains.{name}]",
            )
        return self.alias(name)

    def aliases(self) -> list[dict[str, Any]]:
        """Return every alias with what it means; one that is configured and was never used has no epoch yet."""
        used = self.ledger.aliases()
        shown = [self.show_alias(name) for name in used]
        unused = {name: alias for name, alias in self.config.settings.aliases.items() if name not in used}
        for name, alias in sorted(unused.items()):
            field = {"store": alias.store, "collection": alias.collection or name, "space": None, "model": alias.model}
            shown.append(
                {
                    "alias": name,
                    "epoch": None,
                    "mode": None,
                    "mirror": alias.mirror,
                    "serving": {**field, "documents": None},
                    "follower": None,
                    "clients": [],
                }
            )
        return shown

    def show_alias(self, name: str) -> dict[str, Any]:
        """Return what an alias means now.

        Raises:
            UnknownAlias: the ledger does not know it.
        """
        state = self.ledger.alias(AliasName(name))
        if state is None:
            if name in self.config.settings.aliases:
                raise UnknownAlias(
                    f"alias {name} is configured, and nothing was ever put into it",
                    hint=f"undrift put {name} FILE.jsonl",
                )
            raise UnknownAlias(f"the ledger knows no alias {name}", hint=f"undrift alias create {name}")
        fields = [state.route.serving, *([state.route.follower] if state.route.follower else [])]
        described = [self._describe(field) for field in fields]
        return {
            "alias": name,
            "epoch": state.route.epoch,
            "mode": state.route.mode.value,
            "mirror": state.mirror,
            "serving": described[0],
            "follower": described[1] if len(described) > 1 else None,
            "clients": [
                {"id": client.id, "role": client.role, "host": client.host, "pid": client.pid}
                for client in self.ledger.clients(AliasName(name))
            ],
        }

    def put(
        self,
        name: str,
        file: Path,
        on_progress: Callable[[int], None] = lambda _: None,
        *,
        replacing: Filter | None = None,
    ) -> dict[str, Any]:
        """Insert the documents of a JSON Lines file, replacing those with the same id; return how many were written.

        The whole file is checked before the first document is written. With a filter, its documents are the only ones
        afterwards that match it; see `Alias.replace`.

        Raises:
            BadInputLine, BadDocument: a line cannot be taken; the message names it, and nothing was written.
        """
        alias = self.alias(name)
        with open_documents(file) as documents:
            for _ in documents:
                pass
        written, epoch = 0, alias.route().epoch
        if replacing is not None:
            with open_documents(file) as documents:
                new = list(documents)
            receipt = alias.replace(new, filter=replacing)
            deleted = len(receipt.ids) - len(new)
            return {"alias": name, "written": len(new), "deleted": deleted, "epoch": receipt.epoch}
        with open_documents(file) as documents:
            for batch in batches(documents, WRITE_BATCH):
                epoch = alias.upsert(batch).epoch
                written += len(batch)
                on_progress(written)
        return {"alias": name, "written": written, "epoch": epoch}

    def export(self, name: str, *, field: str = "serving", vectors: bool = False) -> Iterator[str]:
        """Yield every record of a field as a JSON line, in the order of ids.

        Raises:
            BadArgument: `field` is neither `serving` nor `follower`, or there is no follower.
        """
        if field not in ("serving", "follower"):
            raise BadArgument(f"an alias has no field {field!r}", hint="--field serving, or --field follower")
        route = self.alias(name).route()
        place = route.serving if field == "serving" else route.follower
        if place is None:
            raise BadArgument(f"alias {name} has no follower: no migration runs", hint=f"undrift status {name}")
        return self._lines(place, vectors=vectors)

    def _lines(self, place: VectorField, *, vectors: bool) -> Iterator[str]:
        store = self.store_of(place)
        after = ""
        while True:
            ids = store.ids(place, after=after, limit=_PAGE)
            records = store.fetch(place, ids)
            yield from (
                document_line(records[id], records[id].vector if vectors else None) for id in ids if id in records
            )
            if len(ids) < _PAGE:
                return
            after = ids[-1]

    def _make(self, name: AliasName) -> None:
        settings = self.config.settings.aliases.get(name)
        if settings is None:
            known = sorted({*self.config.settings.aliases, *self.ledger.aliases()})
            raise UnknownAlias(
                f"there is no alias {name}",
                f"known are: {', '.join(known) or 'none'}",
                f"undrift alias create {name} --store STORE --model MODEL",
            )
        space = self.recorded(settings.model).space
        field = VectorField(store=settings.store, collection=settings.collection or name, space=space.id)
        self._refuse_shared(field, name)
        store = self.store_of(field)
        if store.describe(field) is None:
            # Another process may make the same alias now: what counts is what is there afterwards.
            with suppress(FieldInUse):
                store.create(field, dimensions=space.dimensions, metric=space.metric)
        there = store.describe(field)
        if there is not None and (there.count or there.dimensions != space.dimensions):
            if self.ledger.route(name) is not None:
                # That other process has made all of it meanwhile, and written to it.
                return
            raise FieldInUse(
                f"collection {field.collection} of store {field.store} is there already, with {there.count} records",
                "undrift cannot know which model its vectors are of",
                f"give alias {name} another collection",
            )
        with suppress(AlreadyExists):
            self.ledger.create_alias(name, field, model=settings.model, mirror=settings.mirror)
        if isinstance(store, SupportsNames):
            store.point(name, field)

    def _refuse_shared(self, field: VectorField, name: AliasName) -> None:
        """Pass when no other alias uses a collection: writes under one name would go past the journal of the other."""
        for other in self.ledger.aliases():
            route = self.ledger.route(other)
            fields = [] if route is None else [route.serving, *([route.follower] if route.follower else [])]
            if other != name and any(
                # Whatever their addresses say of its shape, it is the same collection.
                (place.store, split_address(place.collection)[0]) == (field.store, split_address(field.collection)[0])
                for place in fields
            ):
                raise FieldInUse(
                    f"collection {field.collection} of store {field.store} belongs to alias {other}",
                    hint=f"give alias {name} another collection",
                )

    def _serves(self, name: AliasName) -> str | None:
        route = self.ledger.route(name)
        return route.serving.space if route else None

    def _describe(self, field: VectorField) -> dict[str, Any]:
        known = self.ledger.space(field.space)
        there = self.store_of(field).describe(field)
        return {
            "store": field.store,
            "collection": field.collection,
            "space": field.space,
            "model": known.model if known else None,
            "documents": there.count if there else None,
        }

    def _reconfigure(self, config: Config) -> None:
        self.config = config
        self.plugins.reconfigure(config)
