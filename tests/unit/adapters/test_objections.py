"""An address that is asked whether there is room: only 200 is a yes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from undrift.adapters.objections import http


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = int(self.path.removeprefix("/"))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"the cluster\nis busy" if status != 204 else b"")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "*")
    server = HTTPServer(("127.0.0.1", 0), _Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_200_is_a_yes(address: str) -> None:
    assert http.ask(f"{address}/200") == ""


@pytest.mark.parametrize("status", [204, 404, 429, 503])
def test_anything_else_is_a_no_with_what_was_said(address: str, status: int) -> None:
    said = http.ask(f"{address}/{status}")

    assert said == f"{address}/{status}, which answers {status}" + (" (the cluster is busy)" if status != 204 else "")


def test_nobody_there_is_a_no(address: str) -> None:
    said = http.ask("http://127.0.0.1:9/load", timeout_s=1.0)

    assert said.startswith("http://127.0.0.1:9/load, which does not answer (")
