"""Vectors in a Milvus server, or in Milvus Lite."""

from __future__ import annotations

from undrift.adapters.stores.milvus.store import MilvusStore

__all__ = ["MilvusStore"]
