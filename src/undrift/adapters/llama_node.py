"""Nodes of LlamaIndex: a document as JSON among its metadata, which it reads them and the text from.

What a node has besides its text and its metadata is kept as metadata under LlamaIndex's own keys, and is left out
where it says nothing: so a document moves to another collection with everything that it had.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from undrift.domain.record import Metadata
from undrift.errors import StoreRejected

NODE, TYPE = "_node_content", "_node_type"
#: Keys that name the document a node was made of, all with the same value; the last is the one that is meant.
REFERENCES = ("document_id", "doc_id", "ref_doc_id")
#: Keys beside a node's metadata that are none of them.
KEYS = frozenset({NODE, TYPE, *REFERENCES})
_NOTHING = "None"
_OWN = ("id_", "embedding", "metadata", "text")
#: A node as LlamaIndex writes it that has nothing but a text and metadata.
_PLAIN: dict[str, Any] = {
    "excluded_embed_metadata_keys": [],
    "excluded_llm_metadata_keys": [],
    "relationships": {},
    "metadata_template": "{key}: {value}",
    "metadata_separator": "\n",
    "mimetype": "text/plain",
    "start_char_idx": None,
    "end_char_idx": None,
    "text_template": "{metadata_str}\n\n{content}",
    "class_name": "TextNode",
}


def written(id: str, text: str, metadata: Metadata) -> dict[str, Any]:
    """Return the keys that LlamaIndex reads a node from, with the metadata beside it for its filters.

    Raises:
        StoreRejected: the metadata have something under LlamaIndex's own key that is no node.
    """
    inside = {key: value for key, value in metadata.items() if key not in KEYS}
    around = _around(id, metadata[NODE]) if NODE in metadata else dict(_PLAIN)
    node = {**around, "id_": id, "embedding": None, "metadata": inside, "text": text}
    named = dict.fromkeys(REFERENCES, _NOTHING) | {TYPE: str(around.get("class_name", _PLAIN["class_name"]))}
    extras = {key: metadata[key] for key in (TYPE, *REFERENCES) if key in metadata}
    return inside | named | extras | {NODE: json.dumps(node, ensure_ascii=False)}


def read(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a node, and under LlamaIndex's own keys what else it has.

    Args:
        stored: what stands beside the node, and the node.
    """
    found = {key: value for key, value in stored.items() if key not in KEYS}
    node = _parsed(stored.get(NODE))
    around = {} if node is None else {key: value for key, value in node.items() if key not in _OWN}
    if around not in ({}, _PLAIN):
        found[NODE] = json.dumps(around, ensure_ascii=False)
    kind = stored.get(TYPE)
    if isinstance(kind, str) and kind != around.get("class_name", _PLAIN["class_name"]):
        found[TYPE] = kind
    return found | {key: stored[key] for key in REFERENCES if stored.get(key) not in (None, "", _NOTHING)}


def source_of(stored: Mapping[str, Any]) -> str | None:
    """Return what document a node was made of, None if it does not say."""
    found = stored.get(REFERENCES[-1])
    return None if found in (None, "", _NOTHING) else str(found)


def _around(id: str, said: Any) -> dict[str, Any]:
    node = dict(said) if isinstance(said, Mapping) else _parsed(said)
    if node is None:
        raise StoreRejected(
            f"the metadata key {NODE!r} of document {id!r} is no node of LlamaIndex",
            "nothing of this call was written",
            "leave it out, or use a collection of undrift's own",
        )
    return {key: value for key, value in node.items() if key not in _OWN}


def _parsed(said: Any) -> dict[str, Any] | None:
    try:
        node = json.loads(said)
    except (TypeError, ValueError):
        return None
    return node if isinstance(node, dict) else None
