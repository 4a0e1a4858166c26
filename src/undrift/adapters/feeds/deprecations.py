"""Ends of models as the community's list has them that deprecations.info publishes (`/v1/deprecations.json`).

It is scraped from the providers' pages, and has been wrong: names run into the next cell, models come and go, and of
several regions it has the earliest day. So only models that the catalogue knows are taken from it, and each day counts
as probable, one source's word among others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any

from undrift.domain.catalogue import Attribute, Confidence, Fact, ModelKey, Precision, checked_fact
from undrift.errors import BadConfig, FeedUnavailable

#: What the list calls providers, and the channels of ours that this may mean.
_CHANNELS = {
    "OpenAI": ("openai",),
    "Azure": ("azure-openai", "azure-foundry"),
    "Google": ("gemini-api",),
    "Google Vertex": ("vertex",),
    "AWS Bedrock": ("bedrock",),
    "Cohere": ("cohere",),
}


def is_deprecations(content: str) -> bool:
    """Whether what was read is such a list, and no table of facts."""
    return content.lstrip()[:1] == "["


def deprecations(content: str, source: str, *, knows: Callable[[ModelKey], bool]) -> list[Fact]:
    """Return the ends of known models.

    Args:
        content: the list as it was read.
        source: where.
        knows: whether the catalogue has a model.

    Raises:
        FeedUnavailable: it is no such list.
    """
    try:
        items = json.loads(content)
    except ValueError as error:
        raise FeedUnavailable(f"{source} answers with what is no JSON", str(error)) from error
    entries = [one for one in items if isinstance(one, dict) and "model_id" in one and "provider" in one]
    if items and not entries:
        raise FeedUnavailable(f"{source} is no list of deprecations", "no entry of it has a provider and a model_id")
    return [fact for one in entries for fact in _facts(one, source, knows)]


def _facts(entry: Mapping[str, Any], source: str, knows: Callable[[ModelKey], bool]) -> Iterator[Fact]:
    channels = _CHANNELS.get(str(entry["provider"]), ())
    keys = (ModelKey(channel=channel, model=str(entry["model_id"])) for channel in channels)
    key = next((key for key in keys if knows(key)), None)
    seen = _day(entry.get("last_observed")) or _day(entry.get("scraped_at"))
    ends = _day(entry.get("shutdown_date"))
    if key is None or seen is None or ends is None:
        return
    told: list[tuple[Attribute, str, Precision | None]] = [(Attribute.SHUTDOWN, ends.isoformat(), Precision.PROBABLE)]
    named = entry.get("replacement_models")
    names = [str(one) for one in named if any(map(str.isalnum, str(one)))] if isinstance(named, list) else []
    told += [(Attribute.REPLACEMENT, name, None) for name in names[:1]]
    page = f"{source} ({entry['url']})" if entry.get("url") else source
    for attribute, value, precision in told:
        fact = Fact(
            key=key,
            attribute=attribute,
            value=value,
            precision=precision,
            source=page,
            seen=seen,
            confidence=Confidence.LOW,
        )
        try:
            yield checked_fact(fact)
        except BadConfig:
            # One entry that was scraped wrong does not spoil the others.
            continue


def _day(value: object) -> date | None:
    try:
        return date.fromisoformat(str(value)[:10])
    except ValueError:
        return None
