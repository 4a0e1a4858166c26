"""Filters of the REST interface as the engine inside this process has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from undrift.adapters.stores.qdrant.points import Filter
from undrift.errors import BadFilter

_LISTS = ("must", "should", "must_not")
_MATCHES = {
    "value": "MatchValue",
    "any": "MatchAny",
    "except": "MatchExcept",
    "text": "MatchText",
    "text_any": "MatchTextAny",
    "phrase": "MatchPhrase",
    "prefix": "MatchPrefix",
}


def edge_filter(filter: Filter) -> Any:
    """Return a filter for the engine.

    Raises:
        BadFilter: it has something that the engine, or this translation, does not have.
    """
    import qdrant_edge as edge

    unknown = sorted(filter.keys() - {*_LISTS, "min_should"})
    if unknown:
        raise BadFilter(f"a filter of Qdrant's has the unknown key {unknown[0]!r}", hint=f"use {', '.join(_LISTS)}")
    parts: dict[str, Any] = {
        name: [_condition(one) for one in _listed(filter[name])] for name in _LISTS if filter.get(name)
    }
    least = filter.get("min_should")
    if least:
        wanted = [_condition(one) for one in least["conditions"]]
        parts["min_should"] = edge.MinShould(conditions=wanted, min_count=least["min_count"])
    try:
        return edge.Filter(**parts)
    except (TypeError, ValueError) as error:
        raise BadFilter("a filter cannot be asked for in Qdrant Edge", str(error)) from error


def _condition(condition: Mapping[str, Any]) -> Any:
    import qdrant_edge as edge

    try:
        match condition:
            case {"key": key, **rest}:
                return _field(key, {name: value for name, value in rest.items() if value is not None})
            case {"is_empty": {"key": key}}:
                return edge.IsEmptyCondition(key)
            case {"is_null": {"key": key}}:
                return edge.IsNullCondition(key)
            case {"has_id": ids}:
                return edge.HasIdCondition(set(ids))
            case {"has_vector": name}:
                return edge.HasVectorCondition(name)
            case {"nested": {"key": key, "filter": inside}}:
                return edge.NestedCondition(key, edge_filter(inside))
            case _:
                return edge_filter(condition)
    except (TypeError, ValueError) as error:
        raise BadFilter("a filter cannot be asked for in Qdrant Edge", str(error)) from error


def _field(key: str, rest: Mapping[str, Any]) -> Any:
    import qdrant_edge as edge

    match rest:
        case {"match": match} if len(rest) == 1 and len(match) == 1:
            ((kind, value),) = match.items()
            if kind in _MATCHES and not isinstance(value, bool):
                return edge.FieldCondition(key=key, match=getattr(edge, _MATCHES[kind])(value))
        case {"range": bounds} if len(rest) == 1:
            if any(isinstance(bound, str) for bound in bounds.values()):
                return edge.FieldCondition(key=key, range=edge.RangeDateTime(**bounds))
            return edge.FieldCondition(key=key, range=edge.RangeFloat(**bounds))
        case {"values_count": bounds} if len(rest) == 1:
            return edge.FieldCondition(key=key, values_count=edge.ValuesCount(**bounds))
        case _:
            pass
    raise BadFilter(
        f"the condition on {key!r} cannot be asked for in Qdrant Edge",
        f"it is {dict(rest)!r}",
        "use a filter of undrift's own: see docs/reference/filters.md",
    )


def _listed(conditions: Any) -> list[Mapping[str, Any]]:
    return [conditions] if isinstance(conditions, Mapping) else list(conditions)
