"""A real `undrift serve`, and calls of it as a program in another language makes them."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

JSON = {"Content-Type": "application/json"}
PATIENCE_S = 60


@dataclass(frozen=True, kw_only=True)
class Served:
    """A server that runs, and where."""

    url: str
    folder: Path
    process: subprocess.Popen[str]

    def call(
        self, method: str, path: str, body: object = None, *, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Call it; return status, body and headers of the answer. A body of bytes is sent as it is."""
        there = urlsplit(self.url)
        connection = http.client.HTTPConnection(there.hostname or "", there.port, timeout=PATIENCE_S)
        try:
            sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path, sent, JSON if headers is None else headers)
            answer = connection.getresponse()
            return (
                answer.status,
                json.loads(answer.read()),
                {name.lower(): value for name, value in answer.getheaders()},
            )
        finally:
            connection.close()

    def open(self, *keys: str, alias: str = "kb", **more: Any) -> tuple[int, dict[str, Any]]:
        """Begin a write."""
        return self.call("POST", f"/v1/aliases/{alias}/open", {"keys": keys, "client": "web-7", **more})[:2]

    def close(self, operation: int | None, *keys: str, alias: str = "kb") -> tuple[int, dict[str, Any]]:
        """End a write."""
        return self.call("POST", f"/v1/aliases/{alias}/close", {"operation": operation, "keys": keys})[:2]


@contextmanager
def serving(folder: Path, *options: str, **environment: str) -> Iterator[Served]:
    """Run the command on the configuration of a folder until the end of the context, which it has to end by itself."""
    with (folder / "serve.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "undrift", "serve", "--port", "0", *options],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout is not None
        told = process.stdout.readline().split()
        assert told, (folder / "serve.log").read_text(encoding="utf-8")
        yield Served(url=told[-1], folder=folder, process=process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
