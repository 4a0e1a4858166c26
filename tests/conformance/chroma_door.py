"""Chroma's own client on the collections of the Chroma store."""

from __future__ import annotations

import base64
import json
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from undrift.domain.record import DocumentId, Record, tag_from_stored
from undrift.domain.route import VectorField


class ChromaSideDoor:
    """Reads and writes what undrift's records are made of, with a client of its own."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def read(self, field: VectorField, id: DocumentId) -> Record | None:
        found = self._collection(field).get(ids=[id], include=["metadatas", "documents", "embeddings"])
        if not found["ids"]:
            return None
        stored = found["metadatas"][0]
        whole = json.loads(stored["undrift_record"])
        generation = whole["generation"]
        metadata = whole["metadata"]
        changed = f"undrift_changed:{generation}:"
        metadata |= {key[len(changed) :]: json.loads(value) for key, value in stored.items() if key.startswith(changed)}
        vector = np.asarray(found["embeddings"][0], np.float32)
        if "vector" in whole:
            vector = np.frombuffer(base64.b64decode(whole["vector"]), np.float32)
        space, content, sequence = whole["tag"]
        return Record(
            id=id,
            text=found["documents"][0],
            metadata=metadata,
            vector=vector,
            tag=tag_from_stored(space, content, stored.get(f"undrift_changed_sequence:{generation}", sequence)),
        )

    def write(self, field: VectorField, record: Record) -> None:
        self.delete(field, record.id)
        sent = record.vector
        if self._collection(field).metadata["undrift_metric"] == "cosine":
            sent = (sent / np.linalg.norm(sent.astype(np.float64))).astype(np.float32)
        whole = {
            "generation": "of the side door",
            "metadata": dict(record.metadata),
            "tag": [record.tag.space, record.tag.content, record.tag.sequence],
            "vector": base64.b64encode(record.vector.tobytes()).decode(),
            "vector_hash": blake2b(sent.tobytes(), digest_size=8).hexdigest(),
        }
        self._collection(field).add(
            ids=[record.id],
            embeddings=[sent],
            documents=[record.text],
            metadatas=[{"undrift_record": json.dumps(whole)}],
        )

    def delete(self, field: VectorField, id: DocumentId) -> None:
        self._collection(field).delete(ids=[id])

    def close(self) -> None:
        close_client(self._client)

    def _collection(self, field: VectorField) -> Any:
        return self._client.get_collection(field.collection, embedding_function=None)


def server_client(port: int) -> Any:
    import chromadb

    return chromadb.HttpClient(host="127.0.0.1", port=port)


def folder_client(folder: Path) -> Any:
    import chromadb

    return chromadb.PersistentClient(str(folder))


def close_client(client: Any) -> None:
    """Close a client, and the sockets that it leaves open by itself."""
    apis = [client._server, client._admin_client._server]
    client.close()
    for api in apis:
        if hasattr(api, "_session"):
            api._session.close()
