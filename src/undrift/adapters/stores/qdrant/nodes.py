"""Nodes of LlamaIndex: a document as JSON text in the payload, and its metadata once more beside it, for filters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from undrift.domain.record import Metadata, decode_metadata, encode_metadata

_NODE = "_node_content"
_TYPE = "_node_type"
_TEXTS = ("document_id", "doc_id", "ref_doc_id")
#: Keys of a document's metadata that carry what else a node has, so that it survives a move to another collection.
EXTRAS = frozenset({_NODE, _TYPE, *_TEXTS})
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
_OWN = ("id_", "embedding", "metadata", "text")


def node_payload(id: str, text: str, metadata: Metadata) -> dict[str, Any]:
    """Return the keys that LlamaIndex reads a node from."""
    plain = decode_metadata(encode_metadata(id, metadata))
    extras = {key: plain.pop(key) for key in EXTRAS if key in plain}
    around = extras.pop(_NODE, None)
    node = dict(around) if isinstance(around, dict) else dict(_PLAIN)
    node |= {"id_": id, "embedding": None, "metadata": plain, "text": text}
    named = dict.fromkeys(_TEXTS, "None") | {_TYPE: str(node.get("class_name", "TextNode"))}
    return named | extras | {_NODE: json.dumps(node, ensure_ascii=False)}


def node_text(payload: Mapping[str, Any]) -> object:
    """Return the text of a node."""
    return _node(payload).get("text")


def node_metadata(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a node, and under LlamaIndex's own keys what else it has."""
    node = _node(payload)
    metadata = node.get("metadata")
    found = dict(metadata) if isinstance(metadata, dict) else {}
    around = {key: value for key, value in node.items() if key not in _OWN}
    if around not in ({}, _PLAIN):
        found[_NODE] = around
    kind = payload.get(_TYPE)
    if isinstance(kind, str) and kind != around.get("class_name"):
        found[_TYPE] = kind
    found |= {key: payload[key] for key in _TEXTS if payload.get(key) not in (None, "None")}
    return found


def merged_node(payload: Mapping[str, Any], change: Metadata) -> dict[str, Any]:
    """Return the keys of a node after a change of its metadata."""
    node = _node(payload)
    metadata = node.get("metadata")
    plain = {key: value for key, value in change.items() if key not in EXTRAS}
    node["metadata"] = (metadata if isinstance(metadata, dict) else {}) | plain
    around = change.get(_NODE)
    if isinstance(around, Mapping):
        node |= {key: value for key, value in around.items() if key not in _OWN}
    others = {key: value for key, value in change.items() if key in EXTRAS and key != _NODE}
    return others | {_NODE: json.dumps(node, ensure_ascii=False)}


def unchanged_node(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the condition that a node is still the one that was read."""
    text = payload.get(_NODE)
    if isinstance(text, str):
        return {"key": _NODE, "match": {"value": text}}
    return {"is_empty": {"key": _NODE}}


def node_key() -> str:
    """Return the key of the payload that has the node."""
    return _NODE


def _node(payload: Mapping[str, Any]) -> dict[str, Any]:
    text = payload.get(_NODE)
    if not isinstance(text, str):
        return {}
    try:
        node = json.loads(text)
    except ValueError:
        return {}
    return node if isinstance(node, dict) else {}
