"""Vectors in a LanceDB database: a folder, or a bucket of an object store."""

from __future__ import annotations

from undrift.adapters.stores.lancedb.store import LanceDbStore

__all__ = ["LanceDbStore"]
