"""A server of HTTP/1.1 on a free port, small and fast: one thread a connection, one function for all requests."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a client sent; `segments` are the decoded parts of the path, `query` is what stands behind it."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: bytes
    query: str = ""

    @property
    def segments(self) -> list[str]:
        return [unquote(part) for part in self.path.split("/") if part]

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else None


@dataclass(frozen=True, kw_only=True)
class Response:
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Server:
    """A running server: where it is, and what it was asked, oldest first."""

    port: int
    requests: list[Request] = field(default_factory=list)

    def asked(self) -> list[str]:
        """Return method and path of every request since the last call, and forget them."""
        seen = [f"{request.method} {request.path}" for request in self.requests]
        self.requests.clear()
        return seen


@contextmanager
def serving(answer: Callable[[Request], Response | None], *, keep: int = 200) -> Iterator[Server]:
    """Serve until the end of the context; with no answer to a request, the connection is closed."""
    running = Server(port=0)

    class Connection(socketserver.StreamRequestHandler):
        disable_nagle_algorithm = True
        wbufsize = -1

        def handle(self) -> None:
            while (request := _read(self.rfile)) is not None:
                running.requests.append(request)
                del running.requests[:-keep]
                response = answer(request)
                if response is None:
                    return
                self.wfile.write(_written(response, request.method))
                self.wfile.flush()

    class Sockets(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True
        block_on_close = False

        def handle_error(self, request: object, client_address: object) -> None:
            # A client may hang up in the middle of anything.
            if not isinstance(_raised(), ConnectionError | ValueError):
                super().handle_error(request, client_address)

        def process_request(self, request: Any, client_address: Any) -> None:
            self.open.add(request)
            super().process_request(request, client_address)

    Sockets.open = set()  # type: ignore[attr-defined]
    with Sockets(("127.0.0.1", 0), Connection) as sockets:
        running.port = sockets.server_address[1]
        thread = threading.Thread(target=sockets.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield running
        finally:
            sockets.shutdown()
            thread.join()
            for connection in sockets.open:  # type: ignore[attr-defined]
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue


def _raised() -> BaseException | None:
    import sys

    return sys.exception()


def _read(stream: Any) -> Request | None:
    line = stream.readline()
    if not line.strip():
        return None
    method, target, _ = line.decode("ascii").split(" ")
    headers: dict[str, str] = {}
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", 0)))
    parts = urlsplit(target)
    params = dict(parse_qsl(parts.query, keep_blank_values=True))
    return Request(method=method, path=parts.path, params=params, headers=headers, body=body, query=parts.query)


def _written(response: Response, method: str) -> bytes:
    is_page = isinstance(response.body, str)
    body = b"" if response.body is None else json.dumps(response.body, ensure_ascii=False).encode()
    body = str(response.body).encode() if is_page else body
    kind = "text/html" if is_page else "application/json"
    headers = {"content-type": kind, "content-length": str(len(body)), **response.headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {response.status} Status\r\n{head}\r\n".encode("latin-1") + (b"" if method == "HEAD" else body)
