"""Vectors in Pinecone."""

from __future__ import annotations

from undrift.adapters.stores.pinecone.store import PineconeStore

__all__ = ["PineconeStore"]
