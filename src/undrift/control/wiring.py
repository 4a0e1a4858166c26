"""Puts the configured parts together: ledger, stores, models, this process's routes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from functools import cache, partial
from types import TracebackType
from typing import Self, cast

from undrift import telemetry
from undrift.adapters.clock import SystemClock
from undrift.adapters.embedders.renamed import in_space
from undrift.adapters.processes import LinuxProcesses
from undrift.adapters.sources.payload import PayloadSource
from undrift.adapters.stores.ledger_tags import LedgerTaggedStore
from undrift.adapters.stores.texted import TextedStore
from undrift.adapters.tokenizers.counting import counted
from undrift.adapters.tokenizers.files import tokenizer_at
from undrift.adapters.tracing import open_telemetry
from undrift.config import Config, HookSettings, ModelSettings
from undrift.control.terms import pace_of_tier, terms_of
from undrift.domain.baseline import Baseline
from undrift.domain.baseline import key_of as key_of_baseline
from undrift.domain.equality import Equality, key_of_equality
from undrift.domain.notice import ModelNotice
from undrift.domain.record import ContentHash
from undrift.domain.route import AliasName, VectorField
from undrift.domain.shape import has_tags_in_ledger
from undrift.domain.space import ProvenSpace, Space, SpaceId, differences
from undrift.errors import SpaceMismatch, UnknownModel
from undrift.flow import probe
from undrift.flow.batch import BatchDoor, Batching
from undrift.flow.canary import CurrentCanary
from undrift.flow.embed import EmbeddingDoor
from undrift.flow.pacing import Pacer
from undrift.flow.router import Router
from undrift.flow.traffic import Traffic
from undrift.migrate.keeping import Keeper
from undrift.migrate.workshop import Workshop
from undrift.plugins import Plugins
from undrift.ports.embedder import Embedder
from undrift.ports.runtime import Clock, Processes
from undrift.ports.store import VectorStore


class Wiring:
    """What every verb needs. Nothing is opened before it is used."""

    def __init__(
        self,
        config: Config,
        *,
        role: str = "app",
        clock: Clock | None = None,
        heartbeat: bool = True,
        plugins: Plugins | None = None,
        processes: Processes | None = None,
    ) -> None:
        """Prepare to open what the configuration names.

        Args:
            config: the settings.
            role: what this process is, for those who look at the list of clients.
            clock: the source of time; the machine's own by default.
            heartbeat: whether a thread keeps this process's lease.
            plugins: makes the adapters; those that the configuration names by default.
            processes: tells which processes are dead; the machine's own by default.
        """
        self.config = config
        self.clock = clock or SystemClock()
        self.timing = config.settings.timing.as_timing()
        self.plugins = plugins or Plugins(config, self.clock)
        self.ledger = self.plugins.ledger()
        self.processes = processes or LinuxProcesses()
        self.router = Router(
            self.ledger, self.clock, self.timing, role=role, processes=self.processes, heartbeat=heartbeat
        )
        self._keeper = Keeper(self.ledger, self.clock, self.timing)
        self.router.also(self._keeper.beat)
        if config.settings.traces:
            telemetry.trace_with(open_telemetry())
        self._cache = self.plugins.cache()
        self._spool = self.plugins.spool()
        self._traffic: dict[AliasName, Traffic] = {}
        self._doors: dict[str, EmbeddingDoor] = {}
        self._made: list[Embedder] = []
        self._embedders: dict[str, Embedder] = {}
        self._wrapped: dict[tuple[str, str, bool], VectorStore] = {}
        self._proofs: dict[tuple[SpaceId, float], tuple[EmbeddingDoor, probe.ModelProof]] = {}
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        """Use it as a context, which closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """End this process's lease and let go of every connection."""
        self.heard()
        self.router.close()
        for door in self._doors.values():
            door.close()
        self._doors, self._embedders, self._proofs, self._wrapped = {}, {}, {}, {}
        self.plugins.close()
        self._cache.close()
        self.ledger.close_ledger()

    def heard(self) -> None:
        """Pass on what providers have said of their models in this process; here nobody wants to know."""

    def said(self) -> list[ModelNotice]:
        """Return what providers have said of their models in this process, each thing once."""
        return [notice for embedder in list(self._made) for notice in getattr(embedder, "notices", ())]

    def store_of(self, field: VectorField) -> VectorStore:
        """Return the store behind a field, with its tags and texts where the address and the configuration say."""
        text = self._text_of(field)
        in_ledger = has_tags_in_ledger(field.collection)
        if not text and not in_ledger:
            return self.plugins.store(field.store)
        key = (field.store, text, in_ledger)
        with self._lock:
            if key not in self._wrapped:
                store = self.plugins.store(field.store)
                if text:
                    store = cast(VectorStore, TextedStore(store, self.plugins.source(text)))
                if in_ledger:
                    # A write may wait for its lease, for its deadline, and then for what the store still does with it.
                    horizon_s = self.timing.lease_s + self.timing.deadline_s + store.capabilities.settles_within_s
                    store = LedgerTaggedStore(store, self.ledger, horizon_s=horizon_s, has_texts=bool(text))
                self._wrapped[key] = store
            return self._wrapped[key]

    def _text_of(self, field: VectorField) -> str:
        """Return where the texts of a field are, if not beside its vectors: only an adopted collection is so."""
        for name, alias in self.config.settings.aliases.items():
            place = (alias.store, alias.collection or name)
            if alias.text != "payload:text" and place == (field.store, field.collection):
                return alias.text
        return ""

    def model_settings(self, name: str) -> ModelSettings:
        """Return a model of the configuration.

        Raises:
            UnknownModel: there is no such model.
        """
        found = self.config.settings.models.get(name)
        if found is None:
            known = ", ".join(sorted(self.config.settings.models)) or "none"
            raise UnknownModel(
                f"no model {name} is configured",
                f"configured are: {known}",
                f"undrift model add {name} --provider PROVIDER",
            )
        return found

    def region_of(self, name: str) -> str:
        """Return the region that a model is configured in; empty where none is said."""
        settings = self.config.settings.models.get(name)
        return str(settings.options.get("region") or "") if settings is not None else ""

    def model_door(self, name: str) -> EmbeddingDoor:
        """Return the door to a configured model, unproven."""
        with self._lock:
            if name in self._doors:
                return self._doors[name]
            embedder = self._embedder(name)
        # Not with the lock held: who waits for the ledger keeps nobody else waiting.
        equal = self.equality_of(embedder.space.id)
        with self._lock:
            if name not in self._doors:
                settings = self.model_settings(name)
                self._doors[name] = EmbeddingDoor(
                    embedder if equal is None else in_space(embedder, equal.space),
                    clock=self.clock,
                    cache=self._cache,
                    pacer=self._pacer(embedder, settings),
                    batching=self._batching(embedder, settings),
                )
            return self._doors[name]

    def _embedder(self, name: str) -> Embedder:
        """Return a configured model, which is made once."""
        if name not in self._embedders:
            settings = self.model_settings(name)
            embedder = self.plugins.embedder(name, settings)
            self._made.append(embedder)
            if settings.tokenizer is not None:
                embedder = counted(embedder, tokenizer_at(self.config.resolve(str(settings.tokenizer))))
            self._embedders[name] = embedder
        return self._embedders[name]

    def forget_model(self, name: str) -> None:
        """Make a model anew when it is asked for the next time; it was only tried out, and nothing was embedded."""
        with self._lock:
            self._doors.pop(name, None)
            self._embedders.pop(name, None)
            self.plugins.forget_embedder(name)

    def _batching(self, embedder: Embedder, settings: ModelSettings) -> Batching:
        """Return how a model's batch API is used: as it is configured, and where it is not, as the catalogue says."""

        @cache
        def terms() -> tuple[float | None, int | None]:
            found = terms_of(embedder.space, embedder.limits, settings, self.plugins.catalogue())
            # The narrowest tier is what a plan reckons with; here it would only hold the work up.
            queue = found.batches.queue_tokens if settings.tier is not None else settings.batch_queue_tokens
            return found.batch.usd, None if queue is None else int(queue)

        return Batching(spool=self._spool, mode=settings.batch_mode, terms=terms)

    def kept_of(self, door: EmbeddingDoor) -> Callable[[Sequence[ContentHash]], Collection[ContentHash]]:
        """Return what tells which texts have a vector in the cache, by their hashes."""

        def kept(hashes: Sequence[ContentHash]) -> Collection[ContentHash]:
            return self._cache.get(door.space.id, hashes) if door.limits.worth_keeping else ()

        return kept

    def _pacer(self, embedder: Embedder, settings: ModelSettings) -> Pacer | None:
        """Return the pace that a model's account shares with other processes, where there is an account or a limit."""
        limits, space = settings.as_pace_limits(), embedder.space
        if embedder.limits.account is None and limits.is_silent:
            return None
        if settings.tier is not None:
            requests, tokens = pace_of_tier(space, settings.tier, self.plugins.catalogue())
            limits = settings.as_pace_limits(requests=requests, tokens=tokens)
        return Pacer(
            self.ledger,
            "/".join(filter(None, (space.channel, space.model, embedder.limits.account))),
            owner=self.router.client,
            clock=self.clock,
            limits=limits,
            model=space.model,
        )

    def recorded(self, name: str) -> ProvenSpace:
        """Return the space of a configured model with its probe vectors; one that is new is recorded now."""
        door = self.model_door(name)
        known = self.ledger.space(door.space.id)
        if known is not None:
            return known
        return self.ledger.record_space(ProvenSpace(space=door.space, model=name, probes=probe.record(door)))

    def door_of(self, space: SpaceId) -> EmbeddingDoor:
        """Return the door to the model of a space, proven once in this process.

        Raises:
            SpaceMismatch: the configuration's model of that name is of another space.
            ModelChanged: the model does not give the vectors any more that its space was recorded with.
        """
        return self._proven(space, float("inf"))

    def door_of_worker(self, space: SpaceId) -> EmbeddingDoor:
        """Return the door to the model of a space, proven again and again while it is used (R23 of the protocol)."""
        return self._proven(space, self.timing.proof_s)

    def batches_of(self, space: SpaceId) -> BatchDoor | None:
        """Return the door to the batch API of a space's model, unproven; None where it has none."""
        known = self.ledger.space(space)
        return self.model_door(self._model_of(known)).batches if known is not None else None

    def workshop(self, alias: AliasName) -> Workshop:
        """Return the means to work on an alias's migration, as a registered client."""
        self.router.join(alias)
        configured = self.config.settings.aliases.get(alias)
        hooks = configured.hooks if configured is not None else HookSettings()
        return Workshop(
            alias=alias,
            me=self.router.client,
            ledger=self.ledger,
            store_of=self.store_of,
            door_of=self.door_of_worker,
            batches_of=self.batches_of,
            source=PayloadSource(),
            clock=self.clock,
            timing=self.timing,
            horizon_of=self.settle_s,
            processes=self.processes,
            beat=self.router.beat,
            keeper=self._keeper,
            held_back=self.held_back,
            limits=self.config.limits_of(alias),
            order=self.config.order_of(alias),
            objection=partial(self.plugins.objection, self.config.throttle_of(alias)),
            hooks=self.plugins.hooks(hooks),
            hook_timeout_s=hooks.timeout_s,
            always_reconcile=configured is not None and configured.reconcile == "always",
        )

    def traffic_of(self, alias: AliasName) -> Traffic:
        """Return what is known of this process's searches of an alias; its heart tells the workers."""
        with self._lock:
            if alias not in self._traffic:
                made = Traffic(
                    alias,
                    ledger=self.ledger,
                    router=self.router,
                    clock=self.clock,
                    limits=self.config.limits_of(alias),
                    order=self.config.order_of(alias),
                    sampling=self.config.settings.watch.queries.as_sampling(),
                )
                self._traffic[alias] = made
                self.router.also(made.tell)
            return self._traffic[alias]

    def held_back(self) -> str:
        """Name the file that keeps the workers of this configuration from working; empty while it is not there."""
        named = self.config.settings.pause_file
        if named is None:
            return ""
        file = self.config.resolve(named)
        return f"the pause file {file}: rm {file}" if file.exists() else ""

    def settle_s(self, field: VectorField) -> float:
        """Return the fence horizon of a field's store."""
        configured = self.timing.fence_horizon_s
        return self.store_of(field).capabilities.settles_within_s if configured is None else configured

    def _proven(self, space: SpaceId, every_s: float) -> EmbeddingDoor:
        found = self._proofs.get((space, every_s))
        if found is None:
            made = self._proof(space, every_s)
            with self._lock:
                found = self._proofs.setdefault((space, every_s), made)
        door, proof = found
        proof.check()
        return door

    def _proof(self, space: SpaceId, every_s: float) -> tuple[EmbeddingDoor, probe.ModelProof]:
        known = self.ledger.space(space)
        if known is None:
            raise SpaceMismatch(f"the ledger has no space {space}", hint="undrift doctor")
        door = self.model_door(self._model_of(known))
        return door, probe.ModelProof(
            door,
            known.probes,
            model=known.model,
            clock=self.clock,
            every_s=every_s,
            canary_of=CurrentCanary(door, self.ledger),
        )

    def baseline_of(self, space: SpaceId) -> Baseline | None:
        """Return what the model of a space gave for the probes when it was trusted, if that was recorded."""
        memo = self.ledger.recall(key_of_baseline(space))
        return Baseline.from_text(memo.text) if memo is not None else None

    def equality_of(self, own: SpaceId) -> Equality | None:
        """Return what a model's own space was proved equal to, if it was; its vectors carry the tag of that one."""
        memo = self.ledger.recall(key_of_equality(own))
        return Equality.from_text(memo.text) if memo is not None else None

    def own_space(self, name: str) -> Space:
        """Return the space that a configured model says it computes, whatever it was proved equal to."""
        with self._lock:
            return self._embedder(name).space

    def forget_door(self, name: str) -> None:
        """Open the door to a model anew at its next use."""
        with self._lock:
            door = self._doors.pop(name, None)
            self._proofs = {key: value for key, value in self._proofs.items() if value[0] is not door}
        if door is not None:
            door.close()

    def forget_proof(self, space: SpaceId) -> None:
        """Prove the model of a space anew at its next use, by the baseline that is recorded then."""
        with self._lock:
            self._proofs = {key: value for key, value in self._proofs.items() if key[0] != space}

    def _model_of(self, known: ProvenSpace) -> str:
        """Return the configured model that computes a space: the one it was recorded under, or an equal one."""
        names = [known.model, *self.config.settings.models]
        for name in names:
            if name in self.config.settings.models and self.model_door(name).space == known.space:
                return name
        self.model_settings(known.model)
        raise _mismatch(known, self.model_door(known.model).space)


def _mismatch(known: ProvenSpace, configured: Space) -> SpaceMismatch:
    return SpaceMismatch(
        f"model {known.model} in the configuration is not the one that space {known.space.id} was made with",
        "\n".join(differences(configured, known.space)),
        f"configure it under another name, and change back [models.{known.model}]",
    )
