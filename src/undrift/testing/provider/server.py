"""The HTTP side of the provider: connections, and nothing that knows of embeddings."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A request as it came: its method and path, its headers by lower-case name, and its content."""

    method: str
    path: str
    headers: Mapping[str, str]
    content: bytes

    @property
    def key(self) -> str | None:
        """The key that came along, in whichever header; of a signature of AWS, whose it is."""
        bearer = self.headers.get("authorization", "")
        if bearer.startswith("AWS4-HMAC-SHA256"):
            return bearer.partition("Credential=")[2].partition("/")[0] or None
        given = (bearer.removeprefix("Bearer "), self.headers.get("api-key"), self.headers.get("x-goog-api-key"))
        return next(filter(None, given), None)


#: From a request to status, headers and content, or None to hang up.
Answer = Callable[[Arrived], tuple[int, Mapping[str, str], bytes] | None]


class Server(ThreadingHTTPServer):
    """Listens on a port of 127.0.0.1; a thread for each connection."""

    daemon_threads = True

    def __init__(self, port: int, answer: Answer) -> None:
        """Bind the port; 0 takes a free one."""
        super().__init__(("127.0.0.1", port), _Handler)
        self.answer = answer
        self.stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        self._guard = threading.Lock()

    def opened(self, connection: socket.socket) -> None:
        """Remember a connection."""
        with self._guard:
            self._connections.add(connection)

    def closed(self, connection: socket.socket) -> None:
        """Forget a connection."""
        with self._guard:
            self._connections.discard(connection)

    def hang_up(self) -> None:
        """Close every connection."""
        with self._guard:
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    # The client was faster.
                    continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about clients that went away; an answer that failed is in nobody's log either way."""


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    # Headers and body leave in one packet; otherwise the client's delayed acknowledgement costs 40 ms a request.
    wbufsize = -1
    disable_nagle_algorithm = True
    timeout = 60

    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection)

    def finish(self) -> None:
        self.server.closed(self.connection)
        super().finish()

    def do_POST(self) -> None:
        self._handle()

    def do_GET(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def _handle(self) -> None:
        arrived = Arrived(
            method=self.command,
            path=self.path,
            headers={name.lower(): value for name, value in self.headers.items()},
            content=self.rfile.read(int(self.headers.get("Content-Length", 0))),
        )
        answer = self.server.answer(arrived)
        if answer is None or self.server.stopping.is_set():
            self.close_connection = True
            return
        self._send(*answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet; `EmbeddingProvider.requests` has everything."""

    def _send(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
