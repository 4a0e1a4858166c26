"""The worlds that are tortured: a ledger times a store; another one is another line."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from tests.conformance.postgres_server import PostgresServer, binaries, running_server
from tests.torture.proxy import Proxy

MEMORY = Path("/dev/shm")
MODELS = ("m0", "m1")
DATABASE = "torture"
#: Short, so that what waits for a lease or the fence horizon waits for seconds.
TIMING = {
    "lease_s": 2.0,
    "poll_s": 0.15,
    "deadline_s": 1.5,
    "write_timeout_s": 5.0,
    "work_lease_s": 1.5,
    "retry_s": 0.05,
}
#: Longest wait for a lock; twice that, for the queue and for SQLite, lies within the fence horizon.
BUSY_S = 0.3
#: The same for a write to pgvector, in seconds: how long the server works at one.
WRITE_S = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A combination of a ledger and a store.

    Attributes:
        name: what it is called on the command line.
        ledger: its address; `{server}` stands for user, place and database of a PostgreSQL behind the proxy.
        store: the same.
        horizon_s: the fence horizon: nothing that is sent lands later than this after its deadline.
    """

    name: str
    ledger: str
    store: str
    horizon_s: float = 1.0

    @property
    def needs_server(self) -> bool:
        """Whether a PostgreSQL is needed."""
        return "{server}" in self.ledger + self.store

    @property
    def long_s(self) -> float:
        """Whoever stood still for so long is past its lease, its deadline and the fence horizon."""
        return max(TIMING["lease_s"], TIMING["deadline_s"], TIMING["work_lease_s"]) + self.horizon_s + 0.3

    @property
    def rest_s(self) -> float:
        """How long after its sender's death a request may still land."""
        return self.horizon_s if "{server}" in self.store else 0.0


KINDS = {
    kind.name: kind
    for kind in (
        Kind(name="sqlite", ledger="sqlite:///ledger.db", store="sqlite-vec:vectors.db"),
        Kind(name="sqlite-one-file", ledger="sqlite:///all.db", store="sqlite-vec:all.db"),
        Kind(name="postgres", ledger="postgresql://{server}", store="sqlite-vec:vectors.db"),
        # A connection may be made while a write is sent, and is given up after two seconds.
        Kind(name="sqlite-pgvector", ledger="sqlite:///ledger.db", store="pgvector://{server}", horizon_s=3.0),
        Kind(name="postgres-pgvector", ledger="postgresql://{server}", store="pgvector://{server}", horizon_s=3.0),
    )
}


def is_possible(kind: Kind) -> bool:
    """Whether what a world needs is installed."""
    return find_spec("sqlite_vec") is not None and (not kind.needs_server or binaries() is not None)


@dataclass(kw_only=True)
class World:
    """One collection, with everything around it that can fail.

    Attributes:
        kind: the ledger and the store.
        folder: the files of it.
        server: the PostgreSQL, if there is one.
        proxy: the way to it.
        rounds: how many rounds it has lived through.
    """

    kind: Kind
    folder: Path
    server: PostgresServer | None = None
    proxy: Proxy | None = None
    rounds: int = 0
    _sections: Iterator[int] = field(default_factory=lambda: iter(range(1_000_000)))

    def next_section(self) -> int:
        """Return a number that no section of this world has had."""
        return next(self._sections)

    def data_files(self) -> list[Path]:
        """Return the files that may not be able to grow."""
        return [path for path in self.folder.glob("*.db*") if path.is_file()]

    def crash_server(self) -> None:
        """Kill the server as `kill -9` does, all of its processes at once, and start it again."""
        assert self.server is not None
        with suppress(ProcessLookupError):
            self.server._process.send_signal(signal.SIGKILL)
        self.server._process.wait()
        self.start_server()

    def restart_server(self) -> None:
        """Stop the server as an administrator in a hurry does, and start it again."""
        assert self.server is not None
        self.server.stop(signal.SIGINT)
        self.start_server()

    def start_server(self) -> None:
        """Start the server; what a killed one left behind may be in the way for a moment."""
        import psycopg

        assert self.server is not None
        end = time.monotonic() + 30
        while True:
            try:
                self.server.start()
                return
            except psycopg.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)


@contextmanager
def world(kind: Kind, *, keep: Callable[[], bool] = lambda: False) -> Iterator[World]:
    """Make a world for as long as the context lasts.

    Args:
        kind: the ledger and the store.
        keep: asked at the end whether its folder is to stay, because something is to be looked at.
    """
    place = MEMORY if os.access(MEMORY, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(dir=place, prefix="undrift-torture-"))
    for name in ("status", "points", "errors", "progress"):
        (folder / name).mkdir()
    try:
        with ExitStack() as stack:
            made = World(kind=kind, folder=folder)
            address = ""
            if kind.needs_server:
                made.server = stack.enter_context(running_server())
                assert made.server is not None
                made.server.sql(f"CREATE DATABASE {DATABASE}")
                made.proxy = stack.enter_context(Proxy(made.server.port))
                address = made.server.url(DATABASE).replace(f":{made.server.port}/", f":{made.proxy.port}/")
                address = f"{address.removeprefix('postgresql://')}&connect_timeout=2"
            (folder / "undrift.toml").write_text(_configuration(kind, address), encoding="utf-8")
            yield made
    finally:
        if not keep():
            shutil.rmtree(folder, ignore_errors=True)


def _configuration(kind: Kind, address: str) -> str:
    lines = [
        f'ledger = "{kind.ledger.format(server=address)}"',
        f'[stores.main]\nurl = "{kind.store.format(server=address)}"',
        *(
            f'[models.{name}]\nprovider = "hashing"\nseed = "{name}"\ndimensions = {32 + 16 * number}'
            for number, name in enumerate(MODELS)
        ),
        f'[aliases.kb]\nstore = "main"\nmodel = "{MODELS[0]}"',
        "[timing]",
        *(f"{key} = {value}" for key, value in TIMING.items()),
        f"fence_horizon_s = {kind.horizon_s}",
    ]
    return "\n".join([*lines, ""])
