"""What Redis with its query engine does with the commands of undrift, as far as its documentation says.

One command at a time; transactions are undone when a watched key was changed since; a search index takes in the hashes
with its prefix at once. Sorted sets whose scores are equal order by bytes. Speaks both versions of the protocol.
"""

from __future__ import annotations

import re
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Words = list[bytes]


class Refusal(Exception):
    """An error answer."""


@dataclass
class SearchIndex:
    prefix: bytes
    vector: dict[str, Any]


@dataclass
class Redis:
    """A server without persistence."""

    password: str | None = None
    #: Whether it has the query engine.
    searches: bool = True
    #: Answers that are given instead, by the command.
    planted: dict[str, Any] = field(default_factory=dict)
    commands: list[Words] = field(default_factory=list)
    keys: dict[bytes, Any] = field(default_factory=dict)
    indexes: dict[bytes, SearchIndex] = field(default_factory=dict)
    changes: dict[bytes, int] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.RLock)

    def touched(self, key: bytes) -> None:
        self.changes[key] = self.changes.get(key, 0) + 1

    def hash(self, key: bytes) -> dict[bytes, bytes]:
        return self._of_kind(key, dict)

    def sorted_set(self, key: bytes) -> set[bytes]:
        return self._of_kind(key, set)

    def _of_kind(self, key: bytes, kind: type) -> Any:
        there = self.keys.get(key, kind())
        if not isinstance(there, kind):
            raise Refusal("WRONGTYPE Operation against a key holding the wrong kind of value")
        return there

    def kept(self, key: bytes, value: Any) -> None:
        self.touched(key)
        if value:
            self.keys[key] = value
        else:
            self.keys.pop(key, None)

    def apply(self, words: Words) -> Any:
        name, arguments = words[0].decode().upper(), words[1:]
        if name in self.planted:
            planted = self.planted[name]
            if isinstance(planted, str):
                raise Refusal(planted)
            return planted
        command = _COMMANDS.get(name)
        if command is None or (name.startswith("FT.") and not self.searches):
            raise Refusal(f"ERR unknown command '{words[0].decode()}', with args beginning with: ")
        return command(self, arguments)


def _hset(server: Redis, arguments: Words) -> int:
    key, *said = arguments
    if len(said) % 2:
        raise Refusal("ERR wrong number of arguments for 'hset' command")
    there = dict(server.hash(key))
    before = len(there)
    there.update(zip(said[::2], said[1::2], strict=True))
    server.kept(key, there)
    return len(there) - before


def _removed(server: Redis, arguments: Words) -> int:
    there = [key for key in dict.fromkeys(arguments) if key in server.keys]
    for key in there:
        server.kept(key, None)
    return len(there)


def _zadd(server: Redis, arguments: Words) -> int:
    key, *said = arguments
    assert set(said[::2]) == {b"0"}, "only equal scores order by bytes"
    there = set(server.sorted_set(key))
    before = len(there)
    there.update(said[1::2])
    server.kept(key, there)
    return len(there) - before


def _zrem(server: Redis, arguments: Words) -> int:
    key, *members = arguments
    there = set(server.sorted_set(key))
    before = len(there)
    there.difference_update(members)
    server.kept(key, there)
    return before - len(there)


def _zrange(server: Redis, arguments: Words) -> Words:
    key, start, stop = arguments
    return sorted(server.sorted_set(key))[int(start) : int(stop) + 1]


def _zrangebylex(server: Redis, arguments: Words) -> Words:
    key, low, high, limit, offset, count = arguments
    assert (limit.upper(), offset) == (b"LIMIT", b"0")

    def is_in(member: bytes) -> bool:
        above = low == b"-" or (member > low[1:] if low[:1] == b"(" else member >= low[1:])
        below = high == b"+" or (member < high[1:] if high[:1] == b"(" else member <= high[1:])
        return above and below

    return [member for member in sorted(server.sorted_set(key)) if is_in(member)][: int(count)]


def _ft_create(server: Redis, arguments: Words) -> str:
    name, *said = arguments
    if name in server.indexes:
        raise Refusal("Index already exists")
    at = said.index(b"PREFIX")
    assert said[at + 1] == b"1"
    where = said.index(b"VECTOR")
    count = int(said[where + 2])
    given = [word.decode() for word in said[where + 3 : where + 3 + count]]
    assert len(given) == count
    options = dict(zip(given[::2], given[1::2], strict=True))
    assert said[where + 1] in {b"FLAT", b"HNSW"}
    assert options["TYPE"] == "FLOAT32"
    server.indexes[name] = SearchIndex(prefix=said[at + 2], vector=options)
    return "OK"


def _ft_dropindex(server: Redis, arguments: Words) -> str:
    if server.indexes.pop(arguments[0], None) is None:
        raise Refusal(f"{arguments[0].decode()}: no such index")
    return "OK"


_KNN = re.compile(r"(?P<filter>.*)=>\[KNN \$k @vector \$vector(?: EF_RUNTIME \$ef)? AS distance\]", re.DOTALL)


def _ft_search(server: Redis, arguments: Words) -> dict[str, Any]:
    name, query, *said = arguments
    index = server.indexes.get(name)
    if index is None:
        raise Refusal(f"{name.decode()}: no such index")
    assert said[-2:] == [b"DIALECT", b"2"]
    at = said.index(b"PARAMS")
    given = said[at + 2 : at + 2 + int(said[at + 1])]
    params = dict(zip(given[::2], given[1::2], strict=True))
    limit = int(said[said.index(b"LIMIT") + 2])
    match = _KNN.fullmatch(query.decode())
    if match is None:
        raise Refusal(f"Syntax error at offset 0 near {query.decode()[:20]}")
    wanted = np.frombuffer(params[b"vector"], "<f4")
    dimensions = int(index.vector["DIM"])
    if len(wanted) != dimensions:
        raise Refusal(
            "Error parsing vector similarity query: query vector blob size does not match index's expected size"
        )
    passes = _filter(match["filter"])
    found = []
    for key, value in server.keys.items():
        if (
            key.startswith(index.prefix)
            and isinstance(value, dict)
            and len(value.get(b"vector", b"")) == 4 * dimensions
        ):
            tags = frozenset(value.get(b"words", b"").decode().split(","))
            if passes(tags):
                found.append((_distance(index.vector["DISTANCE_METRIC"], wanted, value[b"vector"]), key))
    nearest = sorted(found, key=lambda one: one[0])[: int(params[b"k"])][:limit]
    results = [{"id": key, "values": []} for _, key in nearest]
    return {"attributes": [], "format": "STRING", "results": results, "total_results": len(nearest), "warning": []}


def _distance(metric: str, wanted: Any, stored: bytes) -> float:
    left, right = wanted.astype(np.float64), np.frombuffer(stored, "<f4").astype(np.float64)
    match metric:
        case "COSINE":
            found = 1 - left @ right / np.sqrt((left @ left) * (right @ right))
        case "IP":
            found = 1 - left @ right
        case _:
            found = ((left - right) ** 2).sum()
    return float(np.float32(found))


def _filter(text: str) -> Callable[[frozenset[str]], bool]:
    """Parse a query of dialect 2, as far as tags, groups, negations, intersections and unions go."""
    tokens = re.findall(r"@words:\{[0-9a-f|]+\}|[()|*-]|\S", text)
    at = 0

    def union() -> Callable[[frozenset[str]], bool]:
        nonlocal at
        parts = [intersection()]
        while at < len(tokens) and tokens[at] == "|":
            at += 1
            parts.append(intersection())
        return parts[0] if len(parts) == 1 else lambda tags: any(part(tags) for part in parts)

    def intersection() -> Callable[[frozenset[str]], bool]:
        parts = []
        while at < len(tokens) and tokens[at] not in {"|", ")"}:
            parts.append(one())
        assert parts, text
        return parts[0] if len(parts) == 1 else lambda tags: all(part(tags) for part in parts)

    def one() -> Callable[[frozenset[str]], bool]:
        nonlocal at
        token = tokens[at]
        at += 1
        if token == "*":
            return lambda tags: True
        if token == "-":
            inside = one()
            return lambda tags: not inside(tags)
        if token == "(":
            inside = union()
            assert tokens[at] == ")", text
            at += 1
            return inside
        if token.startswith("@words:"):
            wanted = frozenset(token[8:-1].split("|"))
            return lambda tags: not wanted.isdisjoint(tags)
        raise Refusal(f"Syntax error at offset {at} near {token}")

    parsed = union()
    assert at == len(tokens), text
    return parsed


_COMMANDS: dict[str, Callable[[Redis, Words], Any]] = {
    "PING": lambda server, arguments: "PONG",
    "CLIENT": lambda server, arguments: "OK",
    "SELECT": lambda server, arguments: "OK",
    "EXISTS": lambda server, arguments: sum(key in server.keys for key in arguments),
    "HSET": _hset,
    "HGET": lambda server, arguments: server.hash(arguments[0]).get(arguments[1]),
    "HGETALL": lambda server, arguments: dict(server.hash(arguments[0])),
    "HMGET": lambda server, arguments: [server.hash(arguments[0]).get(name) for name in arguments[1:]],
    "DEL": _removed,
    "UNLINK": _removed,
    "ZADD": _zadd,
    "ZREM": _zrem,
    "ZCARD": lambda server, arguments: len(server.sorted_set(arguments[0])),
    "ZMSCORE": lambda server, arguments: [
        0.0 if member in server.sorted_set(arguments[0]) else None for member in arguments[1:]
    ],
    "ZRANGE": _zrange,
    "ZRANGEBYLEX": _zrangebylex,
    "FT.CREATE": _ft_create,
    "FT.DROPINDEX": _ft_dropindex,
    "FT.SEARCH": _ft_search,
}


@contextmanager
def serving(server: Redis) -> Iterator[int]:  # noqa: C901 - a handler inside
    """Serve until the end of the context, and say at which port."""

    class Connection(socketserver.StreamRequestHandler):
        disable_nagle_algorithm = True
        wbufsize = -1

        def handle(self) -> None:
            self.protocol, self.is_known = 2, server.password is None
            self.watched: dict[bytes, int] = {}
            self.queued: list[Words] | None = None
            while (words := _read(self.rfile)) is not None:
                with server.lock:
                    try:
                        answer = self.answer(words)
                    except Refusal as refusal:
                        answer = refusal
                if answer is HANG_UP:
                    return
                self.wfile.write(_written(answer, self.protocol))
                self.wfile.flush()

        def answer(self, words: Words) -> Any:
            name, arguments = words[0].decode().upper(), words[1:]
            server.commands.append(words)
            del server.commands[:-500]
            if server.planted.get(name) is HANG_UP:
                return HANG_UP
            if name in {"HELLO", "AUTH"}:
                return self.greet(name, arguments)
            if not self.is_known:
                raise Refusal("NOAUTH Authentication required.")
            if name == "WATCH":
                self.watched |= {key: server.changes.get(key, 0) for key in arguments}
                return "OK"
            if name == "UNWATCH":
                self.watched = {}
                return "OK"
            if name == "MULTI":
                self.queued = []
                return "OK"
            if name == "EXEC":
                return self.execute()
            if self.queued is not None:
                self.queued.append(words)
                return "QUEUED"
            return server.apply(words)

        def greet(self, name: str, arguments: Words) -> Any:
            said = [word.decode() for word in arguments]
            shown = said[said.index("AUTH") + 2] if "AUTH" in said else said[-1] if name == "AUTH" else None
            if shown is not None:
                if shown != server.password:
                    raise Refusal("WRONGPASS invalid username-password pair or user is disabled.")
                self.is_known = True
            if not self.is_known:
                raise Refusal("NOAUTH HELLO must be called with the client already authenticated.")
            if name == "AUTH":
                return "OK"
            self.protocol = int(said[0])
            return {"server": "redis", "version": "8.2.0", "proto": self.protocol, "mode": "standalone", "modules": []}

        def execute(self) -> Any:
            queued, watched = self.queued, self.watched
            self.queued, self.watched = None, {}
            assert queued is not None
            if any(server.changes.get(key, 0) != seen for key, seen in watched.items()):
                return None if self.protocol == 3 else _NOTHING
            answers: list[Any] = []
            for words in queued:
                try:
                    answers.append(server.apply(words))
                except Refusal as refusal:
                    answers.append(refusal)
            return answers

    class Sockets(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True
        block_on_close = False

    with Sockets(("127.0.0.1", 0), Connection) as sockets:
        thread = threading.Thread(target=sockets.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield sockets.server_address[1]
        finally:
            sockets.shutdown()
            thread.join()


#: Instead of an answer: the connection is closed.
HANG_UP = object()
_NOTHING = object()


def _read(stream: Any) -> Words | None:
    try:
        line = stream.readline()
        if not line:
            return None
        assert line[:1] == b"*", line
        words = []
        for _ in range(int(line[1:])):
            size = int(stream.readline()[1:])
            words.append(stream.read(size))
            stream.read(2)
        return words
    except ConnectionError:
        return None


def _written(answer: Any, protocol: int) -> bytes:
    match answer:
        case Refusal():
            return f"-{answer}\r\n".encode()
        case str():
            return f"+{answer}\r\n".encode()
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(answer), answer)
        case bool() | int():
            return b":%d\r\n" % answer
        case float():
            return f",{answer}\r\n".encode() if protocol == 3 else _written(f"{answer:g}".encode(), protocol)
        case None:
            return b"_\r\n" if protocol == 3 else b"$-1\r\n"
        case dict() if protocol == 3:
            inner = [_written(word, protocol) for pair in answer.items() for word in pair]
            return b"%%%d\r\n" % len(answer) + b"".join(inner)
        case dict():
            return _written([word for pair in answer.items() for word in pair], protocol)
        case list():
            return b"*%d\r\n" % len(answer) + b"".join(_written(word, protocol) for word in answer)
        case _:
            return b"*-1\r\n"
