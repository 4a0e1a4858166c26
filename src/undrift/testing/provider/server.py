"""The HTTP side of the provider: connections, and nothing that knows of embeddings."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

#: From a request's body and key to status, headers and content, or None to hang up.
Answer = Callable[[Mapping[str, Any], str | None], tuple[int, Mapping[str, str], bytes] | None]

#: From method, path, headers and content to status and JSON or bytes; None to hang up, a text for an unknown path.
Others = Callable[[str, str, Mapping[str, str], bytes], tuple[int, Any] | str | None]


class Server(ThreadingHTTPServer):
    """Listens on a port of 127.0.0.1; a thread for each connection."""

    daemon_threads = True

    def __init__(self, port: int, answer: Answer, others: Others) -> None:
        """Bind the port; 0 takes a free one."""
        super().__init__(("127.0.0.1", port), _Handler)
        self.answer = answer
        self.others = others
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
    _paths: ClassVar[tuple[str, ...]] = ("/v1/embeddings", "/embeddings")

    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection)

    def finish(self) -> None:
        self.server.closed(self.connection)
        super().finish()

    def do_GET(self) -> None:
        if not self._sent_otherwise(b""):
            self._send(404, {}, b'{"error": {"message": "no such request"}}')

    def do_DELETE(self) -> None:
        self.do_GET()

    def _sent_otherwise(self, content: bytes) -> bool:
        """Answer what is no request for vectors, where somebody does."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.others(self.command, self.path, headers, content)
        if isinstance(reply, str):
            return False
        if reply is None or self.server.stopping.is_set():
            self.close_connection = True
            return True
        status, found = reply
        self._send(status, {}, found if isinstance(found, bytes) else json.dumps(found).encode())
        return True

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self._sent_otherwise(content):
            return
        key = self.headers.get("Authorization", "").removeprefix("Bearer ") or None
        try:
            body = json.loads(content)
        except ValueError:
            body = None
        if self.path not in self._paths or not isinstance(body, dict):
            self._send(404 if isinstance(body, dict) else 400, {}, b'{"error": {"message": "no such request"}}')
            return
        answer = self.server.answer(body, key)
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
