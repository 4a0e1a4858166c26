"""Vectors in a Weaviate server."""

from __future__ import annotations

from undrift.adapters.stores.weaviate.store import WeaviateStore

__all__ = ["WeaviateStore"]
