"""Vectors in Qdrant: on a server, or in the engine inside this process."""

from __future__ import annotations

from undrift.adapters.stores.qdrant.edge_store import QdrantEdgeStore
from undrift.adapters.stores.qdrant.server_store import QdrantStore

__all__ = ["QdrantEdgeStore", "QdrantStore"]
