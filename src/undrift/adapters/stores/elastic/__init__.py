"""Vectors in Elasticsearch or OpenSearch."""

from __future__ import annotations

from undrift.adapters.stores.elastic.stores import ElasticsearchStore, OpenSearchStore

__all__ = ["ElasticsearchStore", "OpenSearchStore"]
