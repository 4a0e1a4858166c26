"""What every dialect is made of: a request for some texts, and an answer with their vectors; pure functions of JSON."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from undrift.domain.record import Vectors

#: A provider may answer under a dated name of the model that it was asked for. A bare number is another model.
_DATED = re.compile(r"[-@:](\d{4}-\d{2}-\d{2}|\d{4}(\d{2}){0,2}|latest)")


class Side(Enum):
    """What a text is embedded as; many models give a document and a query different vectors."""

    #: To be stored, and found.
    DOCUMENT = "document"
    #: To find documents with.
    QUERY = "query"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request, before anybody signs it.

    Attributes:
        path: what comes after the base address.
        body: what is sent as JSON.
    """

    path: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a request came back with.

    Attributes:
        vectors: float32, shape (n, d), row i for text i.
        model: the model that the provider says it used; empty when it does not say.
        cut: how many of the texts the provider says it cut.
    """

    vectors: Vectors
    model: str = ""
    cut: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A success, before anybody reads it: its JSON, and its headers by lower-case name."""

    body: Mapping[str, Any]
    headers: Mapping[str, str]


class Dialect(Protocol):
    """How one family of servers is asked for vectors, for one space."""

    def request(self, texts: Sequence[str], side: Side, /) -> Call:
        """Return the request for 1 to n texts."""
        ...

    def tokens(self, body: Mapping[str, Any], headers: Mapping[str, str], /) -> int:
        """Return the tokens that an answer says it costs; 0 when it does not say.

        Args:
            body: the answer's JSON.
            headers: its headers, by lower-case name.
        """
        ...

    def answer(self, body: Mapping[str, Any], count: int, /) -> Answer:
        """Read the answer to a request.

        Args:
            body: its JSON.
            count: how many texts were sent.

        Raises:
            ValueError: it has not one readable vector for each text.
        """
        ...


@runtime_checkable
class CountsTokens(Protocol):
    """A dialect whose servers cut long texts without a word, and count the tokens of a text when asked."""

    def count_request(self, text: str) -> Call:
        """Return the request that counts a text's tokens."""
        ...

    def counted(self, body: Mapping[str, Any]) -> int:
        """Read the answer to it; raises `ValueError` when it has no count."""
        ...


def parse(content: bytes) -> dict[str, Any]:
    """Return an answer as a mapping.

    Raises:
        ValueError: it is not one.
    """
    answer = json.loads(content)
    if not isinstance(answer, dict):
        raise ValueError(f"it is a JSON {type(answer).__name__}, not an object")
    return answer


def vectors(answer: Mapping[str, Any], count: int) -> Vectors:
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
    return stacked([item.get("embedding") for item in data], count)


def stacked(rows: object, count: int) -> Vectors:
    """Return rows of numbers, or of base64, as they stand.

    Args:
        rows: a list of them, as JSON has it.
        count: how many texts were sent.

    Returns:
        Float32, shape (count, d).

    Raises:
        ValueError: they are not so many, not numbers, or not of one length.
    """
    if not isinstance(rows, list):
        raise ValueError("it has no list of vectors")
    if len(rows) != count:
        raise ValueError(f"it has {len(rows)} vectors for {count} texts")
    read = [_row(row) for row in rows]
    if len({len(row) for row in read}) > 1:
        raise ValueError("its vectors are not of one length")
    return np.stack(read)


def whole(number: object) -> int:
    """Return a count that an answer has, and 0 for anything that is none."""
    return int(number) if isinstance(number, int | float) and 0 < number < math.inf else 0


def named(model: object) -> str:
    """Return the model that an answer names; empty when it names none."""
    return model if isinstance(model, str) else ""


def within(answer: Mapping[str, Any], *keys: str) -> Any:
    """Return what is under several keys, one inside the other; None when it is not there."""
    found: Any = answer
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


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
