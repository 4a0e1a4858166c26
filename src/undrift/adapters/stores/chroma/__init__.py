"""Vectors in Chroma: on a server of its own, or in a folder that one process has for itself."""

from __future__ import annotations

from undrift.adapters.stores.chroma.store import ChromaStore

__all__ = ["ChromaStore"]
