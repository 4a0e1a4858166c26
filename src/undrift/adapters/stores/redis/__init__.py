"""Vectors in Redis, searched by its query engine."""

from __future__ import annotations

from undrift.adapters.stores.redis.store import RedisStore

__all__ = ["RedisStore"]
