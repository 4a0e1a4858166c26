"""Ends of models as their providers' own lists of models tell them: answers in, facts out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import urlsplit

from undrift.domain.catalogue import Attribute, Confidence, Fact, ModelKey, Precision, checked_fact
from undrift.errors import BadConfig, FeedUnavailable

#: One model of a list: its name, and what is said of its end.
_Said = tuple[str, str | None, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelList:
    """How a provider lists its models.

    Attributes:
        path: where, behind the address of the models' own interface, or behind the host when it begins with a slash.
        header: the header that carries the key; a bearer token in `Authorization` by default.
        read: takes an answer apart into names, last days and replacements.
        precision: how its days are meant.
    """

    path: str
    read: Callable[[Mapping[str, Any]], Iterator[_Said]]
    header: str = ""
    precision: Precision = Precision.EXACT


def _openai(answer: Mapping[str, Any]) -> Iterator[_Said]:
    for one in _items(answer, "data"):
        yield _name(one, "id"), _day(one.get("shutdown_date")), None


def _azure(answer: Mapping[str, Any]) -> Iterator[_Said]:
    for one in _items(answer, "data"):
        ends = one.get("deprecation")
        yield _name(one, "id"), _day(ends.get("inference") if isinstance(ends, dict) else None), None


def _mistral(answer: Mapping[str, Any]) -> Iterator[_Said]:
    for one in _items(answer, "data"):
        replacement = one.get("deprecation_replacement_model")
        yield _name(one, "id"), _day(one.get("deprecation")), replacement if isinstance(replacement, str) else None


def _cohere(answer: Mapping[str, Any]) -> Iterator[_Said]:
    # It says whether a model is deprecated, and not until when it answers.
    for one in _items(answer, "models"):
        yield _name(one, "name"), None, None


def _bedrock(answer: Mapping[str, Any]) -> Iterator[_Said]:
    for one in _items(answer, "modelSummaries"):
        lifecycle = one.get("modelLifecycle")
        yield _name(one, "modelId"), _day(lifecycle.get("endOfLifeTime") if isinstance(lifecycle, dict) else None), None


def _fireworks(answer: Mapping[str, Any]) -> Iterator[_Said]:
    for one in _items(answer, "models"):
        yield _name(one, "name").rpartition("/")[2], _day(one.get("deprecationDate")), None


def _openrouter(answer: Mapping[str, Any]) -> Iterator[_Said]:
    for one in _items(answer, "data"):
        yield _name(one, "id"), _day(one.get("expiration_date")), None


#: By channel. Gemini, Vertex, Voyage, Jina, Together and NVIDIA say nothing of ends in their lists.
LISTS = {
    "openai": ModelList(path="models", read=_openai),
    "azure-openai": ModelList(
        path="/openai/models?api-version=2024-10-21", read=_azure, header="api-key", precision=Precision.NOT_BEFORE
    ),
    "mistral": ModelList(path="models", read=_mistral),
    "cohere": ModelList(path="/v1/models?page_size=1000", read=_cohere),
    "bedrock": ModelList(path="/foundation-models?byOutputModality=EMBEDDING", read=_bedrock),
    "fireworks": ModelList(path="/v1/accounts/fireworks/models?pageSize=200", read=_fireworks),
    "openrouter": ModelList(path="embeddings/models", read=_openrouter),
}
#: Where they are asked when the configuration does not say; `{region}` is that of the model.
ADDRESSES = {
    "openai": "https://api.openai.com/v1",
    "mistral": "https://api.mistral.ai/v1",
    "cohere": "https://api.cohere.com/v2",
    "bedrock": "https://bedrock.{region}.amazonaws.com",
    "fireworks": "https://api.fireworks.ai/inference/v1",
    "openrouter": "https://openrouter.ai/api/v1",
}


def address_of(channel: str, base_url: str, region: str = "") -> str:
    """Return where a provider lists its models; empty where it does not, or nobody knows the host.

    Args:
        channel: the provider.
        base_url: where its models answer; the provider's own address by default.
        region: for providers that have one list for each region.
    """
    found = LISTS.get(channel)
    # The control plane of Bedrock is another host than its models.
    base = (base_url or ADDRESSES.get(channel, "")).replace("bedrock-runtime.", "bedrock.").format(region=region)
    if found is None or not base or ("{region}" in ADDRESSES.get(channel, "") and not (region or base_url)):
        return ""
    if found.path.startswith("/"):
        url = urlsplit(base)
        return f"{url.scheme}://{url.netloc}{found.path}"
    return f"{base.rstrip('/')}/{found.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What one list says.

    Attributes:
        models: the names of all models in it.
        facts: the ends, and what is recommended instead, of those that somebody may have vectors of.
    """

    models: frozenset[str]
    facts: tuple[Fact, ...]


def listed(
    answer: Mapping[str, Any], *, channel: str, source: str, seen: date, region: str = "", of: Callable[[str], bool]
) -> Listed:
    """Take a provider's list apart.

    A model without a day is not safe: nobody has named one.

    Args:
        answer: the parsed answer.
        channel: whose it is.
        source: where it was read.
        seen: when.
        region: the region it is of; empty for all.
        of: tells whether a model may be one of embeddings.

    Raises:
        FeedUnavailable: it is no such list.
    """
    told = LISTS[channel]
    names, facts = set(), []
    for name, day, replacement in told.read(answer):
        names.add(name)
        if not of(name):
            continue
        key = ModelKey(channel=channel, model=name, region=region)
        said = [(Attribute.SHUTDOWN, day, told.precision), (Attribute.REPLACEMENT, replacement, None)]
        for attribute, value, precision in said:
            if value is not None:
                fact = Fact(
                    key=key,
                    attribute=attribute,
                    value=value,
                    precision=precision,
                    source=source,
                    seen=seen,
                    confidence=Confidence.HIGH,
                )
                facts.append(_checked(fact, source))
    return Listed(models=frozenset(names), facts=tuple(facts))


def _checked(fact: Fact, source: str) -> Fact:
    try:
        return checked_fact(fact)
    except BadConfig as error:
        raise FeedUnavailable(f"{source} says what cannot be: {error.message}", error.detail) from error


def _items(answer: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise FeedUnavailable(f"a list of models has no {key!r}", repr(answer)[:200])
    return [one for one in found if isinstance(one, dict)]


def _name(one: Mapping[str, Any], key: str) -> str:
    found = one.get(key)
    return found if isinstance(found, str) else ""


def _day(value: object) -> str | None:
    """Read a day as providers write it: ISO 8601 with or without a time, seconds since 1970, or its three parts."""
    try:
        match value:
            case None | "" | 0 | False | True:
                return None
            case int() | float():
                return datetime.fromtimestamp(value, UTC).date().isoformat()
            case {"year": year, "month": month, "day": day}:
                return date(int(year), int(month), int(day)).isoformat()
            case str():
                return datetime.fromisoformat(value).date().isoformat()
            case _:
                return None
    except (ValueError, OverflowError, OSError):
        return None
