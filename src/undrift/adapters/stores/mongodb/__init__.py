"""Vectors in MongoDB: in Atlas, or in a server that has its search."""

from __future__ import annotations

from undrift.adapters.stores.mongodb.store import MongoDbStore

__all__ = ["MongoDbStore"]
