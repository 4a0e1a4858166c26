"""Ids of documents, which MongoDB keeps in any of its types, as texts and back without loss."""

from __future__ import annotations

import json
import re
from typing import Any

_OBJECT_ID = re.compile(r"[0-9a-f]{24}")
#: Stands before an id that is neither a plain text nor an ObjectId.
_MARK = '{"$id": '


def text_of(id: Any) -> str:
    """Return an id as a text: an ObjectId as its 24 digits, a text as it is, and any other as extended JSON.

    A text that looks like one of the others is written as extended JSON, too.
    """
    from bson import ObjectId
    from bson.json_util import CANONICAL_JSON_OPTIONS, dumps

    if isinstance(id, ObjectId):
        return str(id)
    if isinstance(id, str) and not _OBJECT_ID.fullmatch(id) and not id.startswith(_MARK):
        return id
    return f"{_MARK}{dumps(id, json_options=CANONICAL_JSON_OPTIONS)}}}"


def id_of(text: str) -> Any:
    """Return the id that a text stands for."""
    from bson import ObjectId
    from bson.json_util import CANONICAL_JSON_OPTIONS, loads

    if _OBJECT_ID.fullmatch(text):
        return ObjectId(text)
    if not text.startswith(_MARK):
        return text
    try:
        return loads(text, json_options=CANONICAL_JSON_OPTIONS)["$id"]
    except (ValueError, TypeError, KeyError, json.JSONDecodeError):
        return text
