"""The kit on Redis: on a double of it, or on a server that the environment names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.conformance.doubles.redis import Redis, serving
from tests.conformance.live import Live, answering, live
from undrift.adapters.stores.redis import RedisStore
from undrift.adapters.stores.redis.rows import pairs
from undrift.domain.record import DocumentId, Record, decode_metadata, tag_from_stored
from undrift.domain.route import VectorField
from undrift.ports.store import VectorStore
from undrift.testing.stores import StoreConformance

pytest.importorskip("redis")


class RedisDoor:
    """The client's own methods."""

    def __init__(self, server: Live) -> None:
        from redis import Redis as Client

        host, _, rest = server.rest.removeprefix("//").partition(":")
        port, _, database = rest.partition("/")
        said = server.options
        self.client: Any = Client(
            host=host,
            port=int(port or 6379),
            db=int(database or 0),
            username=said.get("user"),
            password=said.get("api_key"),
            ssl=said.get("tls", False),
        )

    def read(self, field: VectorField, id: DocumentId) -> Record | None:
        found = self.client.hgetall(self._key(field, id))
        if not found:
            return None
        return Record(
            id=id,
            text=found[b"text"].decode(),
            metadata=decode_metadata(found[b"metadata"].decode()),
            vector=np.frombuffer(found[b"vector"], "<f4"),
            tag=tag_from_stored(found[b"space"].decode(), found[b"content"].decode(), int(found[b"sequence"])),
        )

    def write(self, field: VectorField, record: Record) -> None:
        said = pairs(record, record.vector)
        self.client.delete(self._key(field, record.id))
        self.client.hset(self._key(field, record.id), mapping=dict(zip(said[::2], said[1::2], strict=True)))
        self.client.zadd(f"{self._base(field)}:ids", {record.id: 0})

    def delete(self, field: VectorField, id: DocumentId) -> None:
        self.client.delete(self._key(field, id))
        self.client.zrem(f"{self._base(field)}:ids", id)

    def _base(self, field: VectorField) -> str:
        about = f"undrift:{{{field.collection}}}"
        return f"{about}:{self.client.hget(about, 'incarnation').decode()}"

    def _key(self, field: VectorField, id: DocumentId) -> str:
        return f"{self._base(field)}:doc:{id}"

    def close(self) -> None:
        self.client.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    named = live("redis")
    if named is not None:
        yield named
        return
    with serving(Redis()) as port:
        yield Live(url=f"redis://127.0.0.1:{port}", options={})


class TestRedis(StoreConformance):
    label, live = "Redis", live("redis") is not None

    def engine(self, store: VectorStore) -> str:
        return answering("redis", "Redis 8")

    @pytest.fixture
    def store(self, server: Live) -> Iterator[VectorStore]:
        store = RedisStore(server.rest, **server.options)
        yield store
        store.close()

    @pytest.fixture
    def other(self, server: Live) -> Iterator[VectorStore]:
        store = RedisStore(server.rest, **server.options)
        yield store
        store.close()

    @pytest.fixture
    def side_door(self, server: Live) -> Iterator[RedisDoor]:
        door = RedisDoor(server)
        yield door
        door.close()
