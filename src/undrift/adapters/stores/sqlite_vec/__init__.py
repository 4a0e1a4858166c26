"""Vectors in a SQLite file, searched by the extension sqlite-vec: the embedded store."""

from __future__ import annotations

from undrift.adapters.stores.sqlite_vec.store import SqliteVecStore

__all__ = ["SqliteVecStore"]
