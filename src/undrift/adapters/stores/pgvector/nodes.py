"""Nodes of LlamaIndex in a table: what is read as undrift has it, and a change that the database itself makes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from undrift.adapters import llama_node
from undrift.domain.record import Record, decode_metadata


def dressed(records: Sequence[Record]) -> list[Record]:
    """Return records whose metadata are what LlamaIndex reads a node from; their texts are in a column.

    Raises:
        StoreRejected: the metadata of one have something under a key of LlamaIndex that is no node.
    """
    return [replace(record, metadata=llama_node.written(record.id, "", record.metadata)) for record in records]


def shown(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return rows that begin with an id and metadata as JSON, with the metadata that the node has."""
    return [(id, json.dumps(llama_node.read(decode_metadata(said))), *rest) for id, said, *rest in rows]


def merged(id: str, stored: str, change: str) -> str:
    """Return the expression for metadata, a `jsonb`, into which a change is put: where there is a node, into it, too.

    Args:
        id: the expression of the document's id.
        stored: that of the metadata that are there.
        change: that of the keys that change.
    """
    whole, node = f"({stored} || {change})", f"'{llama_node.NODE}'"
    keys = ", ".join(f"'{key}'" for key in sorted(llama_node.KEYS))
    own = f"jsonb_build_object('id_', {id}::text, 'embedding', NULL, 'metadata', {whole} - ARRAY[{keys}])"
    # A node that is put in says nothing of a text, which LlamaIndex takes from the column.
    made = f"jsonb_build_object('text', '') || ({whole} ->> {node})::jsonb || {own}"
    return f"CASE WHEN {whole} ? {node} THEN {whole} || jsonb_build_object({node}, ({made})::text) ELSE {whole} END"
