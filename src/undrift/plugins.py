"""Adapters by name: what is built in, and what other packages bring; the only module that imports by name."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undrift.adapters.builtin import EMBEDDERS, KEYS, STORES
from undrift.config import Config, HookSettings, ModelSettings, ThrottleSettings
from undrift.domain.catalogue import Catalogue
from undrift.domain.hook import Moment
from undrift.errors import BadConfig, UnknownAdapter
from undrift.ports.batch import Spool
from undrift.ports.cache import VectorCache
from undrift.ports.embedder import Embedder, ReplacesKey
from undrift.ports.hook import Hook
from undrift.ports.ledger import Ledger
from undrift.ports.runtime import Clock
from undrift.ports.source import DocumentSource
from undrift.ports.store import VectorStore

if TYPE_CHECKING:
    from undrift.adapters.checkpoints import Origin

#: Schemes of a ledger that a server keeps.
_SERVERS = frozenset({"postgresql", "postgres"})


class Plugins:
    """Makes adapters from the configuration, each once, so that what shares a file shares its transactions."""

    def __init__(self, config: Config, clock: Clock) -> None:
        """Make nothing yet."""
        self._config = config
        self._clock = clock
        self._databases: dict[Path, Any] = {}
        self._servers: dict[str, Any] = {}
        self._stores: dict[str, VectorStore] = {}
        self._embedders: dict[str, Embedder] = {}

    def reconfigure(self, config: Config) -> None:
        """Use other settings for what is made from now on."""
        self._config = config

    def ledger(self) -> Ledger:
        """Open the ledger.

        Raises:
            BadConfig: its address is not one, or has a password in it.
            MissingExtra: the driver of its database is not installed.
        """
        if self._ledger_is_server():
            from undrift.adapters.ledgers.postgres import PostgresLedger
            from undrift.adapters.postgres import Owner

            return PostgresLedger(self._server(self._config.settings.ledger, Owner.LEDGER), self._clock)
        from undrift.adapters.clock import boot_id
        from undrift.adapters.ledgers.sqlite import SqliteLedger

        return SqliteLedger(self._database(self.ledger_path()), self._clock, boot_id=boot_id())

    def ledger_path(self) -> Path:
        """Return the ledger's file.

        Raises:
            BadConfig: it is not in a file.
        """
        address = self._config.settings.ledger
        scheme, _, path = address.partition("://")
        if scheme != "sqlite" or not path.removeprefix("/"):
            # Only the word before the first colon: a password may stand anywhere behind it.
            name = re.split(r"[^a-zA-Z0-9+._-]", address, maxsplit=1)[0]
            meant = get_close_matches(name, ("postgresql", "sqlite"), n=1)
            raise BadConfig(
                f"a ledger cannot be at {name}:… by this version",
                "a file is written as sqlite:///undrift.db, a server as postgresql://USER@HOST:PORT/DATABASE",
                f"change `ledger` in the configuration{f'; did you mean {meant[0]}://…?' if meant else ''}",
            )
        # sqlite:///name is relative to the configuration, sqlite:////name is absolute, as SQLAlchemy writes them.
        return self._config.resolve(path.removeprefix("/"))

    def ledger_place(self) -> str:
        """Return where the ledger is, for a person; it has no password in it."""
        if self._ledger_is_server():
            from undrift.adapters.postgres import address_from

            return address_from(self._config.settings.ledger).url
        from undrift.adapters.sqlite import filesystem_of

        path = self.ledger_path()
        return f"{path} on {filesystem_of(path) or 'an unknown filesystem'}"

    def uses_sqlite(self) -> bool:
        """Whether the ledger or a store is a SQLite file."""
        schemes = {settings.url.partition(":")[0] for settings in self._config.settings.stores.values()}
        return "sqlite-vec" in schemes or not self._ledger_is_server()

    def cache(self) -> VectorCache:
        """Open the cache of vectors that were paid for, beside the ledger or the configuration."""
        from undrift.adapters.caches.sqlite import SqliteVectorCache

        beside = self._config.resolve("undrift.db") if self._ledger_is_server() else self.ledger_path()
        return SqliteVectorCache(beside.with_name(f"{beside.name}-vectors"), self._config.settings.cache_mb << 20)

    def spool(self) -> Spool:
        """Return where files of batch jobs are, beside the cache."""
        from undrift.adapters.spool import FileSpool

        beside = self._config.resolve("undrift.db") if self._ledger_is_server() else self.ledger_path()
        return FileSpool(beside.with_name(f"{beside.name}-batches"), capacity=self._config.settings.cache_mb << 20)

    def catalogue(self) -> Catalogue:
        """Return what is known of models: what is shipped, and what a file of the user's says instead.

        Raises:
            BadConfig: the file cannot be read, or has a line that is no fact.
        """
        from undrift.adapters.feeds.table import from_file, from_observations, shipped

        named, observed = self._config.settings.catalogue, self._config.resolve(self._config.settings.observations)
        own = from_file(self._config.resolve(named)) if named else ()
        return Catalogue([*shipped(), *from_observations(observed)], own)

    def store(self, name: str) -> VectorStore:
        """Return a configured store.

        Raises:
            BadConfig: the configuration has no such store, or its address is not one.
        """
        if name not in self._stores:
            settings = self._config.settings.stores.get(name)
            if settings is None:
                known = ", ".join(sorted(self._config.settings.stores)) or "none"
                raise BadConfig(f"no store {name} is configured", f"configured are: {known}", f"add [stores.{name}]")
            scheme, _, rest = settings.url.partition(":")
            factory = self._find(scheme, STORES, "undrift.stores", "store")
            options = dict(settings.options)
            if "api_key" in inspect.signature(factory).parameters:
                options["api_key"] = self._config.secret(settings, KEYS.get(scheme, ""))
            _check_options("store", name, factory, options)
            try:
                self._stores[name] = factory(self._place(scheme, rest, settings.url), **options)
            except (TypeError, ValueError) as error:
                raise BadConfig(f"store {name} cannot be set up", str(error), f"look at [stores.{name}]") from error
        return self._stores[name]

    def embedder(self, name: str, settings: ModelSettings) -> Embedder:
        """Return a configured model.

        Raises:
            BadConfig: an option of it is unknown or wrong.
            UnknownAdapter: there is no such provider.
        """
        if name not in self._embedders:
            provider = settings.provider.replace("-", "_")
            factory = self._find(provider, EMBEDDERS, "undrift.embedders", "provider")
            options = dict(settings.options)
            for key in ("function", "query_function"):
                if isinstance(options.get(key), str):
                    options[key] = self._user_function(options[key])
            if "path" in options:
                options["path"] = str(self._config.resolve(str(options["path"])))
            parameters = inspect.signature(factory).parameters
            if "api_key" in parameters:
                options["api_key"] = self._config.secret(settings, KEYS.get(provider, ""))
            if "provider" in parameters:
                options["provider"] = provider
            if "base" in parameters:
                options["base"] = self._base_of(name, str(options.get("base", "")))
            _check_options("model", name, factory, options)
            try:
                embedder = factory(**options)
            except (TypeError, ValueError) as error:
                raise BadConfig(f"model {name} cannot be set up", str(error), f"look at [models.{name}]") from error
            if settings.api_key_file is not None and isinstance(embedder, ReplacesKey):
                embedder.read_key_again(partial(self._config.secret, settings))
            self._embedders[name] = embedder
        return self._embedders[name]

    def forget_embedder(self, name: str) -> None:
        """Make a model anew the next time; it is not closed, because a head shares its base with others."""
        self._embedders.pop(name, None)

    def _base_of(self, name: str, base: str) -> Embedder:
        """Return the model that a head stands behind."""
        settings = self._config.settings.models.get(base)
        if settings is None or settings.provider == "head":
            state = "which is a head itself" if settings is not None else "which is not configured"
            raise BadConfig(
                f"model {name} stands behind {base!r}, {state}",
                f"configured are: {', '.join(sorted(self._config.settings.models))}",
                f'name the model that it was trained behind in [models.{name}]: base = "NAME"',
            )
        return self.embedder(base, settings)

    def origin(self, origin: str) -> Origin:
        """Find a fine-tuned model: in a folder, in MLflow's registry, or in the cache of the Hugging Face hub.

        Raises:
            BadArgument: it is not there, or is none that can be run here.
        """
        from undrift.adapters import checkpoints

        kind, _, rest = origin.partition(":")
        if kind == "hf":
            return checkpoints.from_hub(rest)
        if kind == "mlflow":
            from undrift.adapters.integrations import mlflow

            return mlflow.from_registry(rest, self._config.resolve)
        return checkpoints.from_folder(self._config.resolve(origin), origin)

    def fingerprint(self, data: Sequence[Path | str]) -> str:
        """Return the fingerprint of training data; empty where there is none."""
        from undrift.adapters.checkpoints import fingerprint

        return fingerprint(data)

    def source(self, text: str) -> DocumentSource:
        """Return where the texts of an alias come from, as the configuration says it.

        Raises:
            BadConfig: it is none of the forms there are.
        """
        kind, _, rest = text.partition(":")
        match kind:
            case "payload" if rest:
                from undrift.adapters.sources.payload import PayloadSource

                return PayloadSource("" if rest == "text" else rest)
            case "jsonl" if rest:
                from undrift.adapters.sources.jsonl import JsonlSource

                return JsonlSource(self._config.resolve(rest))
            case "sql":
                from undrift.adapters.sources.sql import SqlSource

                address, _, query = rest.strip().partition(" ")
                return SqlSource(address, query, self._config.resolve)
            case "python" if ":" in rest:
                from undrift.adapters.sources.function import FunctionSource

                return FunctionSource(self._user_function(rest), rest)
            case _:
                raise BadConfig(
                    f"texts cannot come from {text!r}",
                    "write payload:text, payload:KEY, jsonl:PATH, sql:ADDRESS QUERY, or python:MODULE:FUNCTION",
                    "look at `text` of the alias",
                )

    def objection(self, throttle: ThrottleSettings) -> str:
        """Ask what a user's own system has against the work; empty if nothing."""
        said = []
        if throttle.http is not None:
            from undrift.adapters.objections import http

            said.append(http.ask(throttle.http))
        if throttle.function is not None:
            from undrift.adapters.objections import function

            said.append(function.ask(self._user_function(throttle.function), throttle.function))
        return "; ".join(filter(None, said))

    def hooks(self, settings: HookSettings) -> dict[Moment, list[Hook]]:
        """Return the user's own programs, by the moment at which they are called; a function is imported when it is.

        Raises:
            BadConfig: a function is not there.
        """
        from undrift.adapters.hooks.command import CommandHook
        from undrift.adapters.hooks.function import FunctionHook

        found: dict[Moment, list[Hook]] = {}
        for moment in Moment:
            for words in getattr(settings, moment.value):
                hook: Hook
                if isinstance(words, str):
                    hook = FunctionHook(self._user_function(words), name=words, timeout_s=settings.timeout_s)
                else:
                    folder, environment = self._config.folder, self._config.environment()
                    hook = CommandHook(words, folder=folder, environment=environment, timeout_s=settings.timeout_s)
                found.setdefault(moment, []).append(hook)
        return found

    def installed(self) -> dict[str, list[str]]:
        """Return the names of all adapters there are."""
        return {
            "stores": sorted([*STORES, *(point.name for point in entry_points(group="undrift.stores"))]),
            "providers": sorted([*EMBEDDERS, *(point.name for point in entry_points(group="undrift.embedders"))]),
        }

    def close(self) -> None:
        """Close everything that was made."""
        made: list[VectorStore | Embedder] = [*self._stores.values(), *self._embedders.values()]
        for one in made:
            one.close()
        self._stores, self._embedders = {}, {}

    def _ledger_is_server(self) -> bool:
        return self._config.settings.ledger.partition("://")[0] in _SERVERS

    def _place(self, scheme: str, rest: str, url: str) -> Any:
        """Return what a store's adapter is given: where it is, shared with a ledger there."""
        if scheme == "sqlite-vec":
            return self._database(self._config.resolve(rest.removeprefix("//")))
        if scheme == "pgvector":
            from undrift.adapters.postgres import Owner

            return self._server(url, Owner.STORE)
        if scheme == "qdrant-edge":
            return self._config.resolve(rest.removeprefix("//"))
        if scheme in {"qdrant", "qdrants"}:
            return url if rest.startswith(("//", ":")) else f"{scheme}:{self._config.resolve(rest)}"
        if scheme in {"mongodb", "mongodb+srv", "weaviate", "weaviates"}:
            return url
        is_path = "://" not in rest if scheme == "lancedb" else rest and not rest.startswith("//")
        return str(self._config.resolve(rest)) if scheme in {"chroma", "lancedb", "milvus"} and is_path else rest

    def _server(self, url: str, owner: Any) -> Any:
        """Return the database at an address; the same one for a ledger and a store at the same place."""
        from undrift.adapters.postgres import Database, address_from

        address = address_from(url, owner)
        return self._servers.setdefault(address.conninfo, Database(address))

    def _database(self, path: Path) -> Any:
        from undrift.adapters.sqlite import Database

        if path not in self._databases:
            self._databases[path] = Database(path)
        return self._databases[path]

    def _user_function(self, reference: str) -> Callable[..., Any]:
        """Import a function of the user's, from beside the configuration too."""
        folder = str(self._config.folder)
        if folder not in sys.path:
            sys.path.append(folder)
        return load_function(reference)

    def _find(self, name: str, known: dict[str, str], group: str, kind: str) -> Callable[..., Any]:
        target = known.get(name)
        if target is None:
            for point in entry_points(group=group):
                if point.name == name:
                    found: Callable[..., Any] = point.load()
                    return found
            names = ", ".join(sorted([*known, *(point.name for point in entry_points(group=group))]))
            raise UnknownAdapter(
                f"there is no {kind} called {name!r}", f"there are: {names}", "see docs/reference/configuration.md"
            )
        return load_function(target)


def load_function(reference: str) -> Callable[..., Any]:
    """Return what `module:name` refers to.

    Raises:
        BadConfig: there is no such module or name in it.
    """
    module, _, name = reference.partition(":")
    try:
        found: Callable[..., Any] = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadConfig(f"{reference!r} cannot be imported", str(error), "write it as package.module:name") from error
    return found


def _check_options(kind: str, name: str, factory: Callable[..., Any], options: dict[str, Any]) -> None:
    known = [parameter for parameter in inspect.signature(factory).parameters if parameter != "self"]
    if kind == "store":
        # The first one is where it is, which the address says.
        known = known[1:]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise BadConfig(
            f"{kind} {name} has the unknown key {', '.join(unknown)}",
            f"its {'provider' if kind == 'model' else 'kind'} takes: "
            + (", ".join(sorted(set(known) - {"api_key", "provider"})) or "no other keys"),
            f"look at [{kind}s.{name}]",
        )
