"""Where the server listens, and how it runs and ends."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from undrift.control import ControlPlane
from undrift.errors import BackendError, BadArgument, BadConfig, MissingExtra
from undrift.server.admission import Admission
from undrift.server.app import application
from undrift.server.bracket import Bracket

#: A token that can be guessed is none.
_SHORTEST_TOKEN = 16
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
#: Calls that are being answered may end for so long after the server was asked to stop, in seconds.
_GRACE_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A socket that listens, with what may be said to it.

    Attributes:
        socket: bound and listening.
        url: its address.
        token: what a caller has to show; None for nobody.
        local: whether only this machine can reach it.
    """

    socket: socket.socket
    url: str
    token: str | None
    local: bool


def listen(host: str, port: int, *, token: str | None) -> Listener:
    """Take a port.

    Args:
        host: the address of this machine that callers use.
        port: 0 for any that is free.
        token: what a caller has to show.

    Raises:
        BadConfig: others than this machine could call without a token, or the token can be guessed.
        BadArgument: the address is not one of this machine, or the port is taken.
        MissingExtra: the server is not installed.
    """
    try:
        import starlette  # noqa: F401 - only whether it is installed
        import uvicorn  # noqa: F401 - only whether it is installed
    except ImportError as error:
        raise MissingExtra(
            "the HTTP server is not installed", f"{error.name} is missing", "pip install 'undrift[server]'"
        ) from error
    local = _is_local(host)
    if token is None and not local:
        raise BadConfig(
            f"a server on {host} needs a token, because others than this machine can call it",
            hint="export UNDRIFT_TOKEN=…, or set server.token_file in the configuration",
        )
    if token is not None and (len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
        raise BadConfig(
            "the server's token can be guessed or sent by nobody",
            f"it has at least {_SHORTEST_TOKEN} characters, all of ASCII",
            "python -c 'import secrets; print(secrets.token_urlsafe())'",
        )
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        taken = socket.socket(family, kind)
        try:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(address)
            taken.listen()
        except OSError:
            taken.close()
            raise
    except OSError as error:
        raise BadArgument(
            f"the server cannot listen on {host}, port {port}",
            error.strerror or str(error),
            "undrift serve --port 0 takes a free port",
        ) from error
    shown = f"[{host}]" if ":" in host else host
    return Listener(socket=taken, url=f"http://{shown}:{taken.getsockname()[1]}", token=token, local=local)


def serve(plane: ControlPlane, listener: Listener, *, on_ready: Callable[[], None], stop: threading.Event) -> None:
    """Answer calls until asked to stop.

    Args:
        plane: whose ledger is used.
        listener: where it listens.
        on_ready: called when calls are answered.
        stop: ends it when it is set; calls that are being answered are finished.

    Raises:
        BackendError: it ended without being asked.
    """
    bracket = Bracket(plane.ledger, plane.clock, longest_s=plane.timing.deadline_s)
    with answering(application(bracket, admission_to(listener)), listener) as alive:
        on_ready()
        while alive() and not stop.wait(0.2):
            pass
    if not stop.is_set():
        raise BackendError("the HTTP server ended by itself", "its log says why", "undrift serve")


def admission_to(listener: Listener) -> Admission:
    """Return who may call a listener."""
    names = _LOCAL_NAMES if listener.local and listener.token is None else None
    return Admission(token=listener.token, names=names)


@contextmanager
def answering(app: Any, listener: Listener) -> Iterator[Callable[[], bool]]:
    """Let an application answer the calls of a listener, as long as the context lasts.

    Args:
        app: the application.
        listener: where it listens; it is closed at the end.

    Yields:
        What tells whether it still answers.
    """
    import uvicorn

    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=_GRACE_S
    )
    server = uvicorn.Server(config)
    # In a thread of its own it leaves the signals of this process alone.
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener.socket]}, name="undrift-http")
    thread.start()
    try:
        yield thread.is_alive
    finally:
        server.should_exit = True
        thread.join()
        listener.socket.close()


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
