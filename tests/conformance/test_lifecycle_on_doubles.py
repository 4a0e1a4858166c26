"""A collection moves to another model, back and on again in stores that run as doubles, through the library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

import undrift
from tests.conformance.doubles import elastic, http, pinecone, redis
from undrift import Document
from undrift.domain.migration import Phase
from undrift.errors import GateFailed

_CONFIG = """
ledger = "sqlite:///undrift.db"
[stores.main]
{store}
[models.old]
provider = "hashing"
dimensions = 32
[models.new]
provider = "hashing"
dimensions = 48
[aliases.kb]
store = "main"
model = "old"
[timing]
deadline_s = 1
fence_horizon_s = 1
lease_s = 3
work_lease_s = 3
"""


@contextmanager
def an_elasticsearch() -> Iterator[str]:
    pytest.importorskip("elasticsearch")
    with http.serving(elastic.Elastic(vendor="elasticsearch", version="9.2.1").answer) as server:
        yield f'url = "elasticsearch://127.0.0.1:{server.port}"'


@contextmanager
def an_opensearch() -> Iterator[str]:
    pytest.importorskip("opensearchpy")
    with http.serving(elastic.Elastic(vendor="opensearch", version="3.1.0").answer) as server:
        yield f'url = "opensearch://127.0.0.1:{server.port}"'


@contextmanager
def a_redis() -> Iterator[str]:
    pytest.importorskip("redis")
    with redis.serving(redis.Redis()) as port:
        yield f'url = "redis://127.0.0.1:{port}"'


@contextmanager
def a_mongodb() -> Iterator[str]:
    pytest.importorskip("pymongo")
    from tests.conformance.doubles import mongodb

    with mongodb.serving(mongodb.MongoDb()) as port:
        yield f'url = "mongodb://127.0.0.1:{port}/vectors"\nlisting_s = 0'


@contextmanager
def a_weaviate() -> Iterator[str]:
    pytest.importorskip("weaviate")
    from tests.conformance.doubles import weaviate

    with weaviate.serving(weaviate.Weaviate()) as running:
        # A back-fill waits until the list of ids is as true as the store says.
        yield f'url = "{running.url}"\ngrpc_port = {running.grpc_port}\nlisting_s = 0.2'


@pytest.mark.parametrize("serving", [an_elasticsearch, an_opensearch, a_redis, a_mongodb, a_weaviate])
def test_a_collection_goes_to_another_model_and_back_and_on_again(
    tmp_path: Path, serving: Callable[[], AbstractContextManager[str]]
) -> None:
    with serving() as store:
        file = tmp_path / "undrift.toml"
        file.write_text(_CONFIG.format(store=store), encoding="utf-8")
        plane = undrift.open(file)
        kb = plane.alias("kb")
        kb.upsert(
            [Document(id=f"d{number:03}", text=f"number {number}", metadata={"n": number}) for number in range(90)]
        )
        plane.register("kb", "new")
        plane.work("kb", lambda migration: migration.phase is Phase.BACKFILL)
        kb.upsert([Document(id="d000", text="changed during the back-fill")])
        kb.update_metadata("d001", {"n": -1, "new": True})
        kb.delete(filter={"n": {"$gte": 85}})
        plane.work("kb", lambda migration: migration.phase is Phase.READY)

        assert plane.cutover("kb")["phase"] == "reversing"
        kb.upsert([Document(id="later", text="written after the cutover")])
        kb.delete(["d002"])
        assert plane.rollback("kb", now=True)["phase"] == "rolled_back"
        alias = kb.route().alias
        plane.work("kb", lambda _: plane.ledger.lag(alias).dirty == 0 and plane.ledger.lag(alias).open == 0)

        assert plane.verify("kb")["verdict"] == "pass"
        found = {document.id: document for document in kb.get(["d000", "d001", "d002", "d089", "later"])}
        assert found["d000"].text == "changed during the back-fill"
        assert dict(found["d001"].metadata) == {"n": -1, "new": True}
        assert sorted(found) == ["d000", "d001", "later"]
        assert plane.cutover("kb")["phase"] == "reversing"
        assert kb.search("written after the cutover", k=1)[0].id == "later"
        assert plane.complete("kb")["phase"] == "done"
        assert kb.count() == 85
        plane.close()


@pytest.mark.parametrize("direction", ["from", "to", "within", "selftest"])
def test_no_migration_leads_from_or_to_a_store_whose_reads_may_be_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, direction: str
) -> None:
    pytest.importorskip("pinecone")
    monkeypatch.setenv("PINECONE_API_KEY", "key")
    double = pinecone.Pinecone()
    with http.serving(double.answer) as server:
        double.port = server.port
        file = tmp_path / "undrift.toml"
        theirs = f'url = "pinecone:aws/us-east-1"\ncontroller = "http://127.0.0.1:{server.port}"'
        first, second = ('url = "memory:x"', theirs) if direction == "to" else (theirs, 'url = "memory:x"')
        file.write_text(_CONFIG.format(store=f"{first}\n[stores.other]\n{second}"), encoding="utf-8")
        plane = undrift.open(file)
        kb = plane.alias("kb")
        # It serves all the same.
        kb.upsert([Document(id=f"d{number}", text=f"number {number}", metadata={"n": number}) for number in range(9)])
        kb.update_metadata("d1", {"new": True})
        kb.delete(filter={"n": {"$gte": 7}})
        assert [hit.id for hit in kb.search("number 3", k=1)] == ["d3"]
        assert sorted(document.id for document in kb.get(["d1", "d8"])) == ["d1"]
        assert kb.count() == 7
        made = sorted(double.indexes)

        with pytest.raises(GateFailed, match="no migration leads from or to store pinecone") as caught:
            if direction == "selftest":
                plane.selftest("kb")
            elif direction == "within":
                plane.register("kb", "new")
            else:
                plane.plan("kb", "new", to_store="other")
        assert "undrift put" in caught.value.hint
        assert sorted(double.indexes) == made
        plane.close()
