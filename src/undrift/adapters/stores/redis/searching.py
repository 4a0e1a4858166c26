"""The nearest records: the engine names candidates, and what they are compared by is computed from their vectors."""

from __future__ import annotations

from typing import Any, assert_never

from undrift.adapters.stores.redis.collections import Found
from undrift.adapters.stores.redis.rows import shortened
from undrift.adapters.stores.redis.session import TIMEOUT_S, Session
from undrift.domain.filter import And, Compare, Condition, Exists, Not, OneOf, Or
from undrift.domain.record import Vector
from undrift.domain.terms import word_of, word_of_key
from undrift.errors import StoreUnavailable

NOTHING = ""
EVERYTHING = "*"


def query_of(condition: Condition) -> str:
    """Return a condition as a query over the tags; `NOTHING` for one that is never true.

    Args:
        condition: of leaves that tags answer.
    """
    match condition:
        case Compare(key=key, value=value):
            return f"@words:{{{shortened(word_of(key, value))}}}"
        case OneOf(key=key, values=values):
            tags = sorted({shortened(word_of(key, value)) for value in values})
            return f"@words:{{{'|'.join(tags)}}}" if tags else NOTHING
        case Exists(key=key):
            return f"@words:{{{shortened(word_of_key(key))}}}"
        case Not(part=part):
            inside = query_of(part)
            return EVERYTHING if inside == NOTHING else NOTHING if inside == EVERYTHING else f"(-{_in(inside)})"
        case And(parts=parts):
            inner = [query_of(part) for part in parts]
            kept = [query for query in inner if query != EVERYTHING]
            return NOTHING if NOTHING in inner else " ".join(map(_in, kept)) or EVERYTHING
        case Or(parts=parts):
            inner = [query_of(part) for part in parts]
            kept = [query for query in inner if query != NOTHING]
            return EVERYTHING if EVERYTHING in inner else "|".join(map(_in, kept)) or NOTHING
        case _:
            assert_never(condition)


def candidates(session: Session, found: Found, vector: Vector, query: str, *, k: int, ef_search: int) -> list[str]:
    """Return the ids of the k nearest records that a query lets through, as the index finds them.

    Raises:
        CollectionMissing: there is no such index.
        StoreUnavailable: the search was cut short.
    """
    runtime = " EF_RUNTIME $ef" if found.method == "hnsw" else ""
    params = ["k", k, "vector", vector.astype("<f4").tobytes(), *(["ef", max(k, ef_search)] if runtime else [])]
    said = session.run(
        *("FT.SEARCH", found.index, f"{_in(query)}=>[KNN $k @vector $vector{runtime} AS distance]"),
        *("NOCONTENT", "SORTBY", "distance", "ASC", "LIMIT", 0, k),
        *("TIMEOUT", TIMEOUT_S * 1000, "PARAMS", len(params), *params, "DIALECT", 2),
    )
    results = _said(said, "results")
    warnings = _said(said, "warning")
    if warnings:
        text = ", ".join(one.decode() if isinstance(one, bytes) else str(one) for one in warnings)
        raise StoreUnavailable(f"{session.place.name} answered with a part of what it has", text, "try again later")
    prefix = len(found.prefix.encode())
    return [_said(one, "id")[prefix:].decode() for one in results]


def _in(query: str) -> str:
    return query if query == EVERYTHING else f"({query})"


def _said(said: Any, name: str) -> Any:
    """Return a part of an answer, whose keys are bytes or text."""
    return said.get(name.encode()) if name.encode() in said else said.get(name, [])
