"""Requests and answers of `/v1/embeddings`: pure functions between JSON and vectors."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undrift.domain.record import Vectors

#: A provider may answer under a dated name of the model that it was asked for. A bare number is another model.
_DATED = re.compile(r"[-@:](\d{4}-\d{2}-\d{2}|\d{4}(\d{2}){0,2}|latest)")


def request_body(model: str, texts: Sequence[str], *, cut: int | None, encoding: str) -> dict[str, Any]:
    """Return what is sent; `dimensions` only where a native vector is to be cut: some servers refuse the key."""
    body: dict[str, Any] = {"model": model, "input": list(texts), "encoding_format": encoding}
    if cut is not None:
        body["dimensions"] = cut
    return body


def parse(content: bytes) -> dict[str, Any]:
    """Return an answer as a mapping.

    Raises:
        ValueError: it is not one.
    """
    answer = json.loads(content)
    if not isinstance(answer, dict):
        raise ValueError(f"it is a JSON {type(answer).__name__}, not an object")
    return answer


def vectors(answer: dict[str, Any], count: int) -> Vectors:
    """Return the vectors of an answer in the order of the texts.

    Args:
        answer: the parsed answer.
        count: how many texts were sent.

    Returns:
        Float32, shape (count, d).

    Raises:
        ValueError: they are not so many, not numbered, or not of one length.
    """
    data = answer.get("data")
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise ValueError("it has no list of vectors under `data`")
    if len(data) != count:
        raise ValueError(f"it has {len(data)} vectors for {count} texts")
    if any("index" in item for item in data):
        # Servers that work in parallel answer in the order in which they are done.
        places = [item.get("index") for item in data]
        if sorted(place for place in places if isinstance(place, int)) != list(range(count)):
            raise ValueError(f"its indexes are not those of {count} texts: {places!r:.200}")
        data = sorted(data, key=lambda item: int(item["index"]))
    rows = [_row(item.get("embedding")) for item in data]
    if len({len(row) for row in rows}) > 1:
        raise ValueError("its vectors are not of one length")
    return np.stack(rows)


def billed_tokens(answer: dict[str, Any]) -> int:
    """Return the tokens that the server counted; 0 when it does not say."""
    usage = answer.get("usage")
    found = usage.get("total_tokens") or usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return found if isinstance(found, int) else 0


def dated_name(asked: str, answered: str) -> str | None:
    """Return what an answer's model name adds to the one asked for, or None when it is another model.

    An organisation in front (`openai/…`) is a gateway's way to write the same name, and a date behind it a revision.
    """
    mine, theirs = (name.lower().rpartition("/")[2] for name in (asked, answered))
    for longer, shorter in ((theirs, mine), (mine, theirs)):
        if longer.startswith(shorter):
            suffix = longer[len(shorter) :]
            if not suffix or _DATED.fullmatch(suffix):
                return suffix if longer is theirs else ""
    return None


def estimated_tokens(text: str) -> int:
    """Estimate a text's tokens: 4 ASCII characters for one, every other character for one of its own, at least 1."""
    plain = len(text) if text.isascii() else len(text.encode("ascii", "ignore"))
    return max(1, -(-plain // 4) + len(text) - plain)


def _row(embedding: object) -> NDArray[np.float32]:
    if isinstance(embedding, str):
        try:
            return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4").astype(np.float32)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"a vector is no base64 of float32: {error}") from error
    if not isinstance(embedding, list) or not embedding:
        raise ValueError("a vector is missing")
    try:
        with np.errstate(over="ignore"):
            row = np.asarray(embedding, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"a vector is not a list of numbers: {error}") from error
    if row.ndim != 1:
        raise ValueError("a vector is a list of lists")
    return row
