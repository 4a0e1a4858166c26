"""A receiver of alerts on loopback, and tellings for it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from undrift.domain.alert import Alert, Event, Policy, accepted, after
from undrift.domain.finding import Finding, Severity, State
from undrift.domain.telling import Telling

NOON = datetime(2027, 1, 1, 12, tzinfo=UTC)
FOUND = Finding(
    check="probe",
    subject="m",
    state=State.BAD,
    severity=Severity.ERROR,
    moment=NOON,
    words="model m gives other vectors",
    detail="it looks like pooling",
    hint="undrift model check m",
    figures={"displacement_ratio": 0.25},
)


def alert(**values: Any) -> Alert:
    found = after(None, replace(FOUND, **values), Policy())
    assert found is not None
    return found


def telling(event: Event = Event.FIRING, of: Alert | None = None, **values: Any) -> Telling:
    given = of or alert()
    if event is Event.RESOLVED:
        given = accepted(given, moment=NOON + timedelta(hours=1), why="a new baseline")
    return Telling(alert=given, event=event, moment=NOON, **{"runbook": "https://wiki/alerts#probe", **values})


class Inbox:
    """A receiver that keeps what it gets, and answers what it is told to."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.slept: list[float] = []
        self.body, self.kind = b"why", "text/plain"
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                inbox.got.append((self.path, {name.lower(): text for name, text in self.headers.items()}, body))
                self.send_response(inbox.answers.pop(0) if inbox.answers else 202)
                self.send_header("Content-Type", inbox.kind)
                self.send_header("Content-Length", str(len(inbox.body)))
                self.end_headers()
                self.wfile.write(inbox.body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(body) for _, _, body in self.got]


@contextmanager
def open_inbox() -> Iterator[Inbox]:
    """A receiver, as long as the context lasts."""
    inbox = Inbox()
    thread = threading.Thread(target=inbox.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield inbox
    inbox.server.shutdown()
    inbox.server.server_close()
    thread.join()
