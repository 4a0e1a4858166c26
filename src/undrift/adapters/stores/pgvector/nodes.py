"""Nodes of LlamaIndex, which reads metadata from the node that is kept as JSON among them, not from those beside it."""

from __future__ import annotations

import json
from typing import Any

NODE = "_node_content"
#: Keys beside a node's metadata that are none of them.
_KEYS = (NODE, "_node_type", "document_id", "doc_id", "ref_doc_id")


def filled(metadata: str) -> str:
    """Return metadata, as JSON, with those in the node as they are beside it; as they were where nothing differs."""
    if NODE not in metadata:
        return metadata
    outside: dict[str, Any] = json.loads(metadata)
    try:
        node = json.loads(outside[NODE])
    except (KeyError, TypeError, ValueError):
        return metadata
    inside = {key: value for key, value in outside.items() if key not in _KEYS}
    if not isinstance(node, dict) or node.get("metadata") == inside:
        return metadata
    outside[NODE] = json.dumps({**node, "metadata": inside})
    return json.dumps(outside, ensure_ascii=False)


def merged(value: str) -> str:
    """Return the expression for changed metadata, a `jsonb`, with those in the node changed as well."""
    keys = ", ".join(f"'{key}'" for key in _KEYS)
    node = f"jsonb_set(({value} ->> '{NODE}')::jsonb, '{{metadata}}', {value} - ARRAY[{keys}])"
    return f"CASE WHEN {value} ? '{NODE}' THEN {value} || jsonb_build_object('{NODE}', ({node})::text) ELSE {value} END"
