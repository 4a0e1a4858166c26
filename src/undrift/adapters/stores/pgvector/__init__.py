"""Vectors in a PostgreSQL database, searched by the extension pgvector."""

from __future__ import annotations

from undrift.adapters.stores.pgvector.store import PgVectorStore

__all__ = ["PgVectorStore"]
