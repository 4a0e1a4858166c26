"""Hosted and self-hosted models behind the `/v1/embeddings` dialect of OpenAI, which most servers speak."""

from __future__ import annotations

from undrift.adapters.embedders.http.embedder import HttpEmbedder

__all__ = ["HttpEmbedder"]
