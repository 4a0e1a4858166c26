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
#: Where a node that may have pictures has its text, and the class that has it nowhere else.
_RESOURCE, _RICH = "text_resource", "Node"
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

    Args:
        id: the document's.
        text: its text; empty where it is not kept in the node.
        metadata: its metadata, with what else a node has under LlamaIndex's own keys.

    Raises:
        StoreRejected: the metadata have something under LlamaIndex's own key that is no node.
    """
    inside = {key: value for key, value in metadata.items() if key not in KEYS}
    around = _said(id, metadata[NODE]) if NODE in metadata else dict(_PLAIN)
    node = {**around, "id_": id, "embedding": None, "metadata": inside, "text": text}
    if text and (_RESOURCE in around or around.get("class_name") == _RICH):
        node[_RESOURCE] = {**around.get(_RESOURCE, {}), "text": text}
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
    around = {} if node is None else _around(node)
    if around not in ({}, _PLAIN):
        found[NODE] = json.dumps(around, ensure_ascii=False)
    kind = stored.get(TYPE)
    if isinstance(kind, str) and kind != around.get("class_name", _PLAIN["class_name"]):
        found[TYPE] = kind
    return found | {key: stored[key] for key in REFERENCES if stored.get(key) not in (None, "", _NOTHING)}


def changed(id: str, stored: Mapping[str, Any], changes: Metadata) -> dict[str, Any]:
    """Return the keys that change when some are put into the metadata of what is stored.

    Args:
        id: the document's.
        stored: what stands beside the node, and the node, if there is one; where there is none, none is made.
        changes: keys of the metadata.

    Raises:
        StoreRejected: they have something under LlamaIndex's own key that is no node.
    """
    if _parsed(stored.get(NODE)) is None and NODE not in changes:
        return dict(changes)
    made = written(id, text_in(stored), read(stored) | dict(changes))
    return {key: made[key] for key in made if key in changes or (key in KEYS and made[key] != stored.get(key))}


def text_in(stored: Mapping[str, Any]) -> str:
    """Return the text that a node has in itself; empty where there is none."""
    node = _parsed(stored.get(NODE)) or {}
    resource = node.get(_RESOURCE)
    found = node.get("text") or (resource.get("text") if isinstance(resource, Mapping) else None)
    return found if isinstance(found, str) else ""


def metadata_in(stored: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the metadata that a node has in itself, as LlamaIndex reads them; None where there is none."""
    node = _parsed(stored.get(NODE)) or {}
    found = node.get("metadata")
    return dict(found) if isinstance(found, Mapping) else None


def source_of(stored: Mapping[str, Any]) -> str | None:
    """Return what document a node was made of, None if it does not say."""
    found = stored.get(REFERENCES[-1])
    return None if found in (None, "", _NOTHING) else str(found)


def require(id: str, metadata: Metadata) -> None:
    """Pass when metadata have nothing under LlamaIndex's own key that is no node.

    Raises:
        StoreRejected: they have.
    """
    if NODE in metadata:
        _said(id, metadata[NODE])


def _said(id: str, said: Any) -> dict[str, Any]:
    """Return what a node has besides the document itself, of what metadata say about it."""
    node = dict(said) if isinstance(said, Mapping) else _parsed(said)
    if node is None:
        raise StoreRejected(
            f"the metadata key {NODE!r} of document {id!r} is no node of LlamaIndex",
            "nothing of this call was written",
            "leave it out, or use a collection of undrift's own",
        )
    return _around(node)


def _around(node: Mapping[str, Any]) -> dict[str, Any]:
    around = {key: value for key, value in node.items() if key not in _OWN}
    resource = around.pop(_RESOURCE, None)
    # The text would be there twice, and the one that is not looked at would be the older one.
    rest = {key: value for key, value in resource.items() if key != "text"} if isinstance(resource, Mapping) else {}
    return around | ({_RESOURCE: rest} if any(value is not None for value in rest.values()) else {})


def _parsed(said: Any) -> dict[str, Any] | None:
    try:
        node = json.loads(said)
    except (TypeError, ValueError):
        return None
    return node if isinstance(node, dict) else None
