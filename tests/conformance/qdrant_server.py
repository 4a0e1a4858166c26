"""Starts and ends the server of `qdrant_wire` in a process of its own, and tells it what to do wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class WireServer:
    def __init__(self, folder: Path, version: str, api_key: str) -> None:
        self.folder = folder
        self._words = [version, api_key]
        self._begun = 0
        self.start()

    def start(self) -> None:
        self._begun += 1
        told = self.folder / f"port-{self._begun}"
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.conformance.qdrant_wire",
                str(self.folder / "shards"),
                str(told),
                *self._words,
            ],
            cwd=ROOT,
            env={"PYTHONPATH": f"{ROOT / 'src'}", "PATH": ""},
        )
        until = time.monotonic() + 60
        while not told.exists():
            assert self.process.poll() is None, "the server has ended"
            assert time.monotonic() < until, "the server did not begin"
            time.sleep(0.02)
        self.port = int(told.read_text())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)

    @property
    def options(self) -> dict[str, Any]:
        return {}

    @property
    def url(self) -> str:
        return f"qdrant://127.0.0.1:{self.port}"

    @property
    def log(self) -> list[tuple[str, str, dict[str, str]]]:
        return [(method, path, query) for method, path, query in self._ask("GET", "/_log")]

    def fail(self, *faults: dict[str, Any]) -> None:
        """Let the next request whose path has these letters fail, for each fault."""
        self._ask("POST", "/_faults", faults)

    def client(self, **options: Any) -> Any:
        import qdrant_client

        return qdrant_client.QdrantClient(
            url=f"http://127.0.0.1:{self.port}", check_compatibility=False, timeout=30, **options
        )

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method, data=content)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["result"]


@contextmanager
def wire_server(folder: Path, version: str = "1.19.0", api_key: str = "") -> Iterator[WireServer]:
    server = WireServer(folder, version, api_key)
    try:
        yield server
    finally:
        server.kill()
