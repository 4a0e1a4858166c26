"""The way to the server passes everything on unchanged, and fails in the ways that it is told to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.torture.proxy import Proxy


class Echo:
    """A server that says everything again."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._living: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._living.append(connection)
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        try:
            while data := connection.recv(4096):
                connection.sendall(data)
        except OSError:
            pass
        connection.close()

    def close(self) -> None:
        self._listener.close()
        for connection in self._living:
            connection.close()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    server = Echo()
    with Proxy(server.port) as proxy:
        yield proxy
    server.close()


def receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return data


def connect(proxy: Proxy) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", proxy.port), timeout=10)
    connection.sendall(b"hello")
    assert receive(connection, 5) == b"hello"
    return connection


def is_reset(connection: socket.socket) -> bool:
    connection.settimeout(10)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_what_is_sent_arrives_unchanged(proxy: Proxy) -> None:
    data = bytes(range(256)) * 4096
    with connect(proxy) as connection:
        threading.Thread(target=connection.sendall, args=(data,), daemon=True).start()
        assert receive(connection, len(data)) == data


def test_a_cut_resets_every_connection_and_takes_new_ones(proxy: Proxy) -> None:
    with connect(proxy) as first, connect(proxy) as second:
        proxy.cut()
        assert is_reset(first)
        assert is_reset(second)
    assert proxy.cut_count == 4
    connect(proxy).close()


def test_half_open_nothing_arrives_and_what_was_lost_is_never_passed_on(proxy: Proxy) -> None:
    with connect(proxy) as connection:
        proxy.half_open()
        connection.sendall(b"lost")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        proxy.heal()
        assert is_reset(connection)
    connect(proxy).close()


def test_out_of_reach_nobody_connects_until_it_is_healed(proxy: Proxy) -> None:
    proxy.refuse()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as connection:
        assert is_reset(connection)
    proxy.heal()
    connect(proxy).close()


def test_a_delay_passes_everything_on_in_order(proxy: Proxy) -> None:
    proxy.delay(0.01)
    with connect(proxy) as connection:
        for number in range(5):
            connection.sendall(bytes([number]))
        assert receive(connection, 5) == bytes(range(5))
    proxy.heal()
