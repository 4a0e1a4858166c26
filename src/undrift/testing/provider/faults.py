"""What can go wrong with a provider's answer, and answers that are spoiled so."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from undrift.domain.record import Vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """Answer with an error.

    Attributes:
        status: the HTTP status.
        code: the machine-readable code in the body.
        message: the words in the body; `{key}` is replaced by the key that was sent, as careless servers do.
        headers: sent along, such as `Retry-After`.
    """

    status: int
    code: str | None = None
    message: str = "the server refuses"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Answer after some seconds, or when the server stops."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerAs:
    """Answer well, under another model's name."""

    model: str


class Spoil(Enum):
    """Answer with status 200 and something that cannot be used, or not as sent."""

    #: A page of HTML, as proxies send it.
    NOT_JSON = "not_json"
    #: An object with nothing in it that a vector could be under.
    NO_VECTORS = "no_vectors"
    #: The last vector is missing.
    TOO_FEW = "too_few"
    #: The right vectors in another order, which `index` tells.
    SHUFFLED = "shuffled"
    #: Two vectors with the same index.
    BAD_INDEX = "bad_index"
    #: One value of the first vector is not a number.
    NAN = "nan"
    #: The first vector is zero.
    ZERO = "zero"
    #: Vectors are shorter than they were.
    SHORTER = "shorter"
    #: No answer at all: the connection is closed.
    HANG_UP = "hang_up"


Fault = Refuse | Wait | AnswerAs | Spoil


def rate_limited(retry_after: str | None = None) -> Refuse:
    """Return the fault of a provider that asks to slow down."""
    return Refuse(
        status=429,
        code="rate_limit_exceeded",
        message="Rate limit reached for requests",
        headers={} if retry_after is None else {"Retry-After": retry_after},
    )


def quota_exhausted() -> Refuse:
    """Return the fault of an account that has no money left; waiting does not help."""
    return Refuse(status=429, code="insufficient_quota", message="You exceeded your current quota, check your billing")


def spoiled(vectors: Vectors, fault: Fault | None) -> Vectors:
    """Return vectors with values as the fault says."""
    rows = vectors.copy()
    match fault:
        case Spoil.NAN:
            rows[0, 0] = np.nan
        case Spoil.ZERO:
            rows[0] = 0
        case Spoil.SHORTER:
            rows = rows[:, 1:]
        case _:
            pass
    return rows


def rows_of(vectors: Vectors, fault: Fault | None) -> list[list[float]]:
    """Return vectors as plain lists, as many as the fault says."""
    rows: list[list[float]] = spoiled(vectors, fault).tolist()
    return rows[:-1] if fault is Spoil.TOO_FEW else rows


def content(body: Mapping[str, Any], vectors: Vectors, tokens: int, fault: Fault | None) -> bytes:
    """Write an answer, spoiled as the fault says.

    Args:
        body: the request.
        vectors: float32, shape (n, d), row i for text i.
        tokens: what the request is billed for.
        fault: what goes wrong.
    """
    rows = spoiled(vectors, fault)
    packed = "base64" in (body.get("encoding_format"), body.get("embedding_type"))
    data: list[dict[str, Any]] = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(row.astype("<f4").tobytes()).decode() if packed else row.tolist(),
        }
        for index, row in enumerate(rows)
    ]
    if fault is Spoil.TOO_FEW:
        data.pop()
    elif fault is Spoil.SHUFFLED:
        data.reverse()
    elif fault is Spoil.BAD_INDEX:
        data[-1]["index"] = 0 if len(data) > 1 else 1
    model = fault.model if isinstance(fault, AnswerAs) else body["model"]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json.dumps({"object": "list", "data": data, "model": model, "usage": usage}).encode()
