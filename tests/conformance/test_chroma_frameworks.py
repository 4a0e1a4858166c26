"""A collection that LangChain made in Chroma is adopted with its tags in the ledger, migrated and read back."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("chromadb")

from tests.conformance.adoption import MANY, NEW, OLD, adopted_and_moved, for_langchain
from tests.conformance.chroma_door import close_client, server_client
from tests.conformance.chroma_server import ChromaServer
from undrift.errors import BadArgument

pytestmark = pytest.mark.servers
IDS = [str(uuid.UUID(int=number + 1)) for number in range(len(MANY))]


def test_a_collection_of_langchain_is_adopted_migrated_and_read_back(chroma: ChromaServer, tmp_path: Path) -> None:
    module = pytest.importorskip("langchain_chroma")
    client: Any = server_client(chroma.port)
    theirs = module.Chroma(collection_name="adopted", embedding_function=for_langchain(OLD), client=client)
    theirs.add_texts(MANY, metadatas=[{"n": number} for number in range(len(MANY))], ids=IDS)
    store = f'url = "{chroma.url}"\nlisting_s = 0'

    # Chroma changes no record under a condition, so no tag could be put beside a vector without a risk.
    with pytest.raises(BadArgument, match="cannot put a tag beside a vector that is there") as refused:
        adopted_and_moved(tmp_path, store, "adopted?as=langchain", ids=IDS, tags="payload")
    assert refused.value.hint.startswith("--tags ledger")
    before = theirs.get(include=["metadatas", "documents"])
    target = adopted_and_moved(tmp_path, store, "adopted?as=langchain", ids=IDS, tags="ledger")

    assert {key for one in before["metadatas"] for key in one} == {"n"}
    name = target.partition("?")[0]
    moved = module.Chroma(collection_name=name, embedding_function=for_langchain(NEW), client=client)
    (hit,) = moved.similarity_search("written through undrift", k=1)
    assert (hit.id, hit.metadata) == (IDS[0], {"n": -1})
    assert [one.page_content for one in moved.similarity_search(MANY[9], k=1)] == [MANY[9]]
    assert not moved.get(ids=[IDS[1]])["ids"]
    moved.add_texts(["written by LangChain again"], ids=[IDS[1]])
    assert moved.similarity_search("written by LangChain again", k=1)[0].id == IDS[1]
    close_client(client)
