"""What a model costs, and how fast an account may use it: the configuration before the catalogue, unknown stays so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from undrift.adapters.tokenizers.families import family
from undrift.config import ModelSettings
from undrift.domain.catalogue import Attribute, Catalogue, Fact, ModelKey, channel_of
from undrift.domain.cost import BatchTerms, Pace
from undrift.domain.space import Space
from undrift.domain.tokens import Family
from undrift.errors import BadArgument
from undrift.ports.embedder import EmbedderLimits

#: How the source of a figure is called that the user has configured.
CONFIGURED = "the configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars for a million tokens; None where nobody knows, and who says so."""

    usd: float | None
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The terms of one model.

    Attributes:
        key: the model in the catalogue; None where the catalogue does not have it.
        online: the price of an answer at once.
        batch: the price through the batch interface.
        tier: the tier of the account that the limits are of; empty where the provider has none, or nobody knows.
        tier_is_said: whether somebody said so; otherwise it is the narrowest there is.
        reserved: share of the pace that is left to searches.
        tiers: all tiers that the catalogue knows of.
        pace: how fast the account may go.
        batches: what the batch interface takes.
        facts: the limits of both with their sources.
        family: the kind of the model's tokenizer.
    """

    key: ModelKey | None
    online: Price
    batch: Price
    tier: str
    tier_is_said: bool
    reserved: float
    tiers: tuple[str, ...]
    pace: Pace
    batches: BatchTerms
    facts: dict[str, Fact]
    family: Family


def keys_of(space: Space, catalogue: Catalogue, region: str = "") -> list[ModelKey]:
    """Return what of the catalogue may be meant by a model: in its region, and where nobody says it, in any."""
    channel = channel_of(space.channel)
    there = [key for key in catalogue.find(space.model) if key.channel == channel]
    return [key for key in there if not region or key.region in {"", region}]


def key_of(space: Space, catalogue: Catalogue) -> ModelKey | None:
    """Return a model as the catalogue has it; None where it does not."""
    return next(iter(keys_of(space, catalogue)), None)


def pace_of_tier(space: Space, tier: str, catalogue: Catalogue) -> tuple[float | None, float | None]:
    """Return requests and tokens a minute that accounts of a tier have; None for what nobody knows."""
    place = key_of(space, catalogue) or ModelKey(channel=channel_of(space.channel), model=space.model)
    attributes = (Attribute.REQUESTS_PER_MINUTE, Attribute.TOKENS_PER_MINUTE)
    facts = (catalogue.limit(place, attribute, tier) for attribute in attributes)
    requests, tokens = (None if fact is None else float(fact.value) for fact in facts)
    return requests, tokens


def terms_of(
    space: Space, limits: EmbedderLimits, settings: ModelSettings, catalogue: Catalogue, *, tier: str | None = None
) -> Terms:
    """Return the terms of a model.

    Args:
        space: its space.
        limits: what its adapter says of it.
        settings: what the user has configured.
        catalogue: what else is known.
        tier: the tier of the account; by default the configured one, or the narrowest.

    Raises:
        BadArgument: the provider has no such tier.
    """
    key = key_of(space, catalogue)
    # Limits may be known of all models of a channel, and this one not be in the catalogue.
    place = key or ModelKey(channel=channel_of(space.channel), model=space.model)
    tiers = tuple(catalogue.tiers(place))
    named = tier or settings.tier
    if named and tiers and named not in tiers:
        raise BadArgument(
            f"the catalogue has no tier {named} of {place.channel}",
            f"it has: {', '.join(tiers)}",
            "undrift catalogue show MODEL, or write the tier's limits into a catalogue of your own",
        )
    used = named or (tiers[0] if tiers else "")
    found = {
        attribute: fact
        for attribute in _FIGURES
        if limits.paid and (fact := catalogue.limit(place, attribute, used)) is not None
    }
    figures: dict[str, Any] = {_FIGURES[attribute]: _number(fact.value) for attribute, fact in found.items()}
    # What the user has configured holds, whatever the tier: it is what the work is held to as well.
    configured = {
        "requests_per_minute": settings.requests_per_min,
        "tokens_per_minute": settings.tokens_per_min,
        "queue_tokens": settings.batch_queue_tokens,
    }
    figures |= {name: value for name, value in configured.items() if value is not None}
    tokenizer = catalogue.tokenizer(place)
    return Terms(
        key=key,
        online=_online(limits, settings, catalogue, key),
        batch=_batch(limits, settings, catalogue, key),
        tier=used,
        tier_is_said=named is not None or settings.tokens_per_min is not None,
        reserved=settings.reserved_for_queries,
        tiers=tiers,
        pace=Pace(**{name: figures[name] for name in _PACE.values() if name in figures}),
        batches=BatchTerms(**{name: figures[name] for name in _BATCH.values() if name in figures}),
        facts={attribute.value: fact for attribute, fact in found.items()},
        family=family(tokenizer.value if tokenizer is not None else None),
    )


_PACE = {
    Attribute.REQUESTS_PER_MINUTE: "requests_per_minute",
    Attribute.TOKENS_PER_MINUTE: "tokens_per_minute",
    Attribute.INPUTS_PER_MINUTE: "inputs_per_minute",
    Attribute.REQUESTS_PER_DAY: "requests_per_day",
    Attribute.INPUTS_PER_REQUEST: "inputs_per_request",
    Attribute.TOKENS_PER_REQUEST: "tokens_per_request",
}
_BATCH = {
    Attribute.BATCH_QUEUE_TOKENS: "queue_tokens",
    Attribute.BATCH_INPUTS: "inputs_per_batch",
    Attribute.BATCH_BYTES: "bytes_per_batch",
    Attribute.BATCH_HOURS: "expected_hours",
    Attribute.BATCH_WORST_HOURS: "worst_hours",
}
_FIGURES = {**_PACE, **_BATCH}


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() else value


def _online(limits: EmbedderLimits, settings: ModelSettings, catalogue: Catalogue, key: ModelKey | None) -> Price:
    if not limits.paid:
        return Price(usd=limits.usd_per_million_tokens, source="nobody is billed")
    configured = settings.options.get("usd_per_million_tokens")
    if configured is not None:
        return Price(usd=float(configured), source=CONFIGURED)
    listed = _listed(catalogue, key, Attribute.PRICE_USD)
    if listed.usd is None and limits.usd_per_million_tokens:
        return Price(usd=limits.usd_per_million_tokens, source="the adapter of its provider")
    return listed


def _batch(limits: EmbedderLimits, settings: ModelSettings, catalogue: Catalogue, key: ModelKey | None) -> Price:
    if not limits.paid:
        return Price(usd=None)
    if settings.batch_usd_per_million_tokens is not None:
        return Price(usd=settings.batch_usd_per_million_tokens, source=CONFIGURED)
    if settings.options.get("usd_per_million_tokens") is not None:
        # Somebody who pays another price than the listed one pays another one for batches, too.
        return Price(usd=None)
    return _listed(catalogue, key, Attribute.BATCH_PRICE_USD)


def _listed(catalogue: Catalogue, key: ModelKey | None, attribute: Attribute) -> Price:
    fact = catalogue.fact(key, attribute) if key is not None else None
    if fact is None:
        return Price(usd=None)
    return Price(usd=float(fact.value), source=f"{fact.source}, {fact.seen.isoformat()}")
