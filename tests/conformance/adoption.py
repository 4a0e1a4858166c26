"""The life of a collection that a framework made: adopted, migrated to another model, and left to the framework."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import undrift
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.domain.migration import Phase
from undrift.domain.record import Document
from undrift.domain.route import AliasName

OLD, NEW = HashingEmbedder(dimensions=16, seed="old"), HashingEmbedder(dimensions=24, seed="new")
TEXTS = ["a refund takes fourteen days", "parcels arrive on Monday", "the invoice comes by mail", "open a ticket"]
#: As many as it takes to prove what model made them.
MANY = [f"{text}, number {number}" for number in range(8) for text in TEXTS]

_CONFIG = """
ledger = "sqlite:///undrift.db"
[stores.main]
{store}
[models.old]
provider = "hashing"
dimensions = 16
seed = "old"
[models.new]
provider = "hashing"
dimensions = 24
seed = "new"
[timing]
poll_s = 0.05
deadline_s = 1
fence_horizon_s = 1
lease_s = 3
work_lease_s = 3
"""


def floats(model: HashingEmbedder, texts: Sequence[str]) -> list[list[float]]:
    """Return vectors as frameworks have them."""
    return [list(map(float, vector)) for vector in model.embed_documents(list(texts))]


def for_langchain(model: HashingEmbedder) -> Any:
    """Return a model as LangChain wants it."""
    from langchain_core.embeddings import Embeddings

    class Model(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return floats(model, texts)

        def embed_query(self, text: str) -> list[float]:
            return floats(model, [text])[0]

    return Model()


def nodes_of(texts: Sequence[str], model: HashingEmbedder = OLD, *, ids: Sequence[str] = ()) -> list[Any]:
    """Return texts as nodes of LlamaIndex, each made of a file of its own."""
    from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode

    return [
        TextNode(
            id_=ids[number] if ids else f"n{number}",
            text=text,
            metadata={"n": number},
            embedding=vector,
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"file {number}")},
        )
        for number, (text, vector) in enumerate(zip(texts, floats(model, texts), strict=True))
    ]


def nearest_node(theirs: Any, model: HashingEmbedder, text: str) -> Any:
    """Return the node that LlamaIndex finds for a text."""
    from llama_index.core.vector_stores.types import VectorStoreQuery

    query = VectorStoreQuery(query_embedding=floats(model, [text])[0], similarity_top_k=1)
    return theirs.query(query).nodes[0]


def adopted_and_moved(
    folder: Path, store: str, collection: str, *, ids: Sequence[str], tags: str, target: str | None = None
) -> str:
    """Adopt a collection of `MANY`, move it to the new model, and return the address of the new one.

    What frameworks compare by is accepted: the vectors have length 1 here, and the order is the same. The first
    document is written and the second deleted after the cutover.

    Args:
        folder: where ledger and configuration are.
        store: the lines of the store's settings.
        collection: the address of the collection.
        ids: of its documents, in the order of their texts.
        tags: `payload` or `ledger`.
        target: the address of the new one, where undrift shall not name it.
    """
    path = folder / "undrift.toml"
    path.write_text(_CONFIG.format(store=store), encoding="utf-8")
    with undrift.open(path) as plane:
        plane.adopt_collection("kb", store="main", collection=collection, model="old", tags=tags, accept=["metric"])
        plane.register("kb", "new", collection=target)
        plane.work("kb", lambda migration: migration is not None and migration.phase is Phase.READY)
        plane.cutover("kb")
        kb = plane.alias("kb")
        kb.upsert([Document(id=ids[0], text="written through undrift", metadata={"n": -1})])
        kb.delete([ids[1]])
        plane.work("kb", lambda _: not plane.ledger.lag(AliasName("kb")).dirty)
        assert plane.verify("kb")["verdict"] == "pass"
        plane.complete("kb")
        assert kb.count() == len(MANY) - 1
        return plane.router.join(AliasName("kb")).serving.collection
