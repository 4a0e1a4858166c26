"""Collections that LangChain and LlamaIndex made in Qdrant are adopted, migrated and read back by the same software."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("qdrant_client")
pytest.importorskip("qdrant_edge")

from tests.conformance.adoption import (
    MANY,
    NEW,
    OLD,
    adopted_and_moved,
    floats,
    for_langchain,
    nearest_node,
    nodes_of,
)
from tests.conformance.qdrant_server import WireServer, wire_server

pytestmark = pytest.mark.servers
IDS = [str(uuid.UUID(int=number + 1, version=4)) for number in range(len(MANY))]


@pytest.fixture(scope="module")
def qdrant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WireServer]:
    with wire_server(tmp_path_factory.mktemp("qdrant")) as server:
        yield server


@pytest.fixture
def client(qdrant: WireServer) -> Iterator[Any]:
    made = qdrant.client()
    yield made
    made.close()


def langchain(client: Any, name: str, model: Any, **more: Any) -> Any:
    module = pytest.importorskip("langchain_qdrant")
    return module.QdrantVectorStore(client=client, collection_name=name, embedding=for_langchain(model), **more)


def test_a_collection_of_langchain_is_adopted_migrated_and_read_back(
    qdrant: WireServer, client: Any, tmp_path: Path
) -> None:
    from qdrant_client import models

    client.create_collection("chain", models.VectorParams(size=16, distance=models.Distance.COSINE))
    langchain(client, "chain", OLD).add_texts(MANY, metadatas=[{"n": number} for number in range(len(MANY))], ids=IDS)

    store = f'url = "{qdrant.url}"\nlisting_s = 0'
    target = adopted_and_moved(tmp_path, store, "chain?as=langchain", ids=IDS, tags="payload")

    moved = langchain(client, target.partition("?")[0], NEW)
    (hit,) = moved.similarity_search("written through undrift", k=1)
    assert (hit.page_content, hit.metadata["n"], hit.metadata["_id"]) == ("written through undrift", -1, IDS[0])
    moved.add_texts(["written by LangChain again"], ids=[IDS[1]])
    assert moved.similarity_search("written by LangChain again", k=1)[0].metadata["_id"] == IDS[1]
    assert not client.collection_exists("chain")


def test_a_collection_of_langchain_is_migrated_where_it_is_beside_its_keyword_vectors(
    qdrant: WireServer, client: Any, tmp_path: Path
) -> None:
    """As its hybrid search has them: a dense vector with a name, and a sparse one, which nobody but it knows."""
    from qdrant_client import models

    params = models.VectorParams(size=16, distance=models.Distance.COSINE)
    client.create_collection("hybrid", {"dense": params}, sparse_vectors_config={"words": models.SparseVectorParams()})
    words = [models.SparseVector(indices=[number], values=[1.0]) for number in range(len(MANY))]
    client.upsert(
        "hybrid",
        [
            models.PointStruct(
                id=id, vector={"dense": vector, "words": sparse}, payload={"page_content": text, "metadata": {"n": n}}
            )
            for n, (id, text, vector, sparse) in enumerate(zip(IDS, MANY, floats(OLD, MANY), words, strict=True))
        ],
    )
    source = "hybrid?as=langchain&vector=dense"

    target = adopted_and_moved(
        tmp_path,
        f'url = "{qdrant.url}"\nlisting_s = 0',
        source,
        ids=IDS,
        tags="payload",
        target="hybrid?as=langchain&vector=large",
    )

    assert target == "hybrid?as=langchain&vector=large"
    moved = langchain(client, "hybrid", NEW, vector_name="large")
    (hit,) = moved.similarity_search("written through undrift", k=1)
    assert (hit.page_content, hit.metadata["n"], hit.metadata["_id"]) == ("written through undrift", -1, IDS[0])
    assert [one.page_content for one in moved.similarity_search(MANY[9], k=1)] == [MANY[9]]
    assert not client.retrieve("hybrid", [IDS[1]])
    kept = {point.id: point.vector for point in client.retrieve("hybrid", IDS, with_vectors=True)}
    assert all(vectors.keys() == {"large", "words"} for vectors in kept.values())
    assert all(kept[id]["words"] == words[number] for number, id in enumerate(IDS) if id in kept)


def test_a_collection_of_llama_index_is_adopted_migrated_and_read_back(
    qdrant: WireServer, client: Any, tmp_path: Path
) -> None:
    module = pytest.importorskip("llama_index.vector_stores.qdrant")
    module.QdrantVectorStore(client=client, collection_name="nodes").add(nodes_of(MANY, ids=IDS))

    target = adopted_and_moved(
        tmp_path, f'url = "{qdrant.url}"\nlisting_s = 0', "nodes?as=llama_index", ids=IDS, tags="ledger"
    )

    moved = module.QdrantVectorStore(client=client, collection_name=target.partition("?")[0])
    node = nearest_node(moved, NEW, MANY[9])
    assert (node.node_id, node.text, node.metadata, node.source_node.node_id) == (IDS[9], MANY[9], {"n": 9}, "file 9")
    written = nearest_node(moved, NEW, "written through undrift")
    assert (written.node_id, written.metadata) == (IDS[0], {"n": -1})
    assert not moved.get_nodes(node_ids=[IDS[1]])
