"""What is known of embedding models in the world, and what their ends mean for the vectors there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from undrift.control.terms import keys_of
from undrift.control.wiring import Wiring
from undrift.domain.calendar import Remembered, calendar_of
from undrift.domain.catalogue import EVERY, LIMITS, Attribute, Catalogue, Fact, ModelKey
from undrift.domain.route import VectorField
from undrift.domain.space import ProvenSpace
from undrift.domain.sunset import LEVELS, Sunset, first_end, sunset_of
from undrift.errors import BadArgument, UndriftError, UnknownModel
from undrift.ports.store import Part

#: Documents whose tokens are counted to reckon up those of a collection.
_SAMPLE = 500
#: Of a limit, work beside live traffic reaches about so much.
_UTILISATION = 0.8


class Outlook(Wiring):
    """The verb `catalogue`."""

    def known_models(self, channel: str | None = None) -> list[dict[str, Any]]:
        """Return every model of the catalogue with the facts to go by."""
        catalogue = self.plugins.catalogue()
        keys = [key for key in catalogue.models() if channel in {None, key.channel}]
        return [_summary(catalogue, key) for key in keys]

    def known_model(self, name: str) -> list[dict[str, Any]]:
        """Return everything that is known of the models of a name, with every source.

        Raises:
            UnknownModel: the catalogue has none.
        """
        catalogue = self.plugins.catalogue()
        found = catalogue.find(name)
        if not found:
            raise UnknownModel(f"the catalogue knows no model {name}", hint="undrift catalogue list")
        return [
            {
                **_summary(catalogue, key),
                "facts": {
                    attribute.value: [fact.as_dict() for fact in facts]
                    for attribute in Attribute
                    if (facts := _all_of(catalogue, key, attribute))
                },
            }
            for key in found
        ]

    def sunsets(
        self, *, tokens_per_minute: float, today: date | None = None, only_owned: bool = False
    ) -> list[dict[str, Any]]:
        """Return the ends of models, the most urgent first, with what each means for the vectors there are.

        Args:
            tokens_per_minute: the limit that a re-embedding may use, of which it reaches four fifths.
            today: the day to reckon from; by default the clock's.
            only_owned: leave out models of which no alias has vectors.
        """
        catalogue = self.plugins.catalogue()
        day = today or self.clock.now().date()
        owned = self.owned(catalogue)
        ends = [found for key in catalogue.models() if (found := sunset_of(catalogue, key)) is not None]
        shown = [
            _sunset(end, day, owned.get(end.key, []), tokens_per_minute=tokens_per_minute, catalogue=catalogue)
            for end in sorted(ends, key=lambda end: (end.end.day, end.key))
            if end.key in owned or (not only_owned and end.end.day >= day)
        ]
        return sorted(shown, key=lambda one: one["owned_vectors"] == 0)

    def write_calendar(self, sunsets: Sequence[Mapping[str, Any]], file: Path) -> None:
        """Write the ends of models, and the last safe days to begin, as an iCalendar file.

        Raises:
            BadArgument: the file cannot be written.
        """
        text = calendar_of(
            [day for one in sunsets for day in _remembered(one)],
            made=self.clock.now(),
        )
        try:
            file.write_text(text, encoding="utf-8", newline="")
        except OSError as error:
            raise BadArgument(f"the calendar {file} cannot be written", str(error)) from error

    def owned(self, catalogue: Catalogue) -> dict[ModelKey, list[dict[str, Any]]]:
        """Return by model what each alias has of it: vectors, and roughly how many tokens their texts are."""
        owned: dict[ModelKey, list[dict[str, Any]]] = {}
        for name in self.ledger.aliases():
            state = self.ledger.alias(name)
            for field in filter(None, (state.route.serving, state.route.follower)) if state else ():
                recorded = self.ledger.space(field.space)
                keys = keys_of(recorded.space, catalogue, self.region_of(recorded.model)) if recorded else []
                if recorded is not None and keys:
                    end = first_end(catalogue, keys)
                    key = end.key if end is not None else keys[0]
                    owned.setdefault(key, []).append({"alias": name, **self._amount(field, recorded)})
        return owned

    def _amount(self, field: VectorField, recorded: ProvenSpace) -> dict[str, Any]:
        try:
            store = self.store_of(field)
            described = store.describe(field)
            entries = store.scan(field, limit=_SAMPLE, parts=Part.TEXT) if described else []
        except UndriftError as error:
            return {"vectors": None, "tokens": None, "problem": error.message}
        count = described.count if described else 0
        texts = [entry.text for entry in entries if entry.text]
        try:
            # Unproven: a model that has ended answers no more, and to prove one that has not is paid for.
            counted = self.model_door(self._model_of(recorded)).count_tokens(texts)[0] if texts else 0
        except UndriftError as error:
            return {"vectors": count, "tokens": None, "problem": error.message}
        tokens = counted if count <= len(texts) else round(counted * count / max(1, len(texts)))
        return {"vectors": count, "tokens": tokens}


def _all_of(catalogue: Catalogue, key: ModelKey, attribute: Attribute) -> list[Fact]:
    """Return what was observed of a model, and of all models of its channel."""
    return [
        *catalogue.history(key, attribute),
        *catalogue.history(ModelKey(channel=key.channel, model=EVERY), attribute),
    ]


def _summary(catalogue: Catalogue, key: ModelKey) -> dict[str, Any]:
    found = {attribute.value: catalogue.fact(key, attribute) for attribute in Attribute if attribute not in LIMITS}
    shown = {name: fact.value for name, fact in found.items() if fact is not None}
    return {"channel": key.channel, "model": key.model, "region": key.region, **shown}


def _sunset(
    sunset: Sunset,
    today: date,
    owned: list[dict[str, Any]],
    *,
    tokens_per_minute: float,
    catalogue: Catalogue,
) -> dict[str, Any]:
    known = [one["tokens"] for one in owned if one["tokens"] is not None]
    tokens = sum(known) if known else None
    hours = tokens / (tokens_per_minute * _UTILISATION) / 60 if tokens is not None else None
    price = _price_of_replacement(catalogue, sunset.key)
    return {
        "channel": sunset.key.channel,
        "model": sunset.key.model,
        "region": sunset.key.region,
        "date": sunset.end.value,
        "precision": sunset.end.precision.value if sunset.end.precision else None,
        "sources": [sunset.end.as_dict()],
        "disagreeing": [fact.as_dict() for fact in sunset.disagreeing],
        "history": [fact.as_dict() for fact in sunset.others],
        "moved": sunset.moved,
        "days_left": (sunset.end.day - today).days,
        "level": sunset.level(today),
        "aliases": owned,
        "owned_vectors": _vectors_of(owned),
        "tokens": tokens,
        "cost_usd": None if tokens is None or price is None else round(tokens * price / 1e6, 2),
        "hours": None if hours is None else round(hours, 2),
        "latest_safe_start": sunset.latest_safe_start(hours or 0.0).isoformat(),
    }


def _vectors_of(owned: Sequence[Mapping[str, Any]]) -> int | None:
    """Return how many vectors are concerned; None where there are some, or may be, and nobody can count them."""
    known = sum(one["vectors"] or 0 for one in owned)
    return None if not known and any(one["vectors"] is None for one in owned) else known


def _remembered(sunset: Mapping[str, Any]) -> list[Remembered]:
    model = f"{sunset['channel']}/{sunset['model']}"
    uid = f"{model}{sunset['region'] and '/' + sunset['region']}@undrift"
    vectors = sunset["owned_vectors"]
    many, source = "an unknown number of" if vectors is None else vectors, sunset["sources"][0]
    about = f"{many} vectors; {source['source']}, seen {source['seen']}"
    end = Remembered(
        uid=f"end/{uid}",
        day=date.fromisoformat(sunset["date"]),
        summary=f"{model} ends" + (" at the earliest" if sunset["precision"] == "not_before" else ""),
        description=about,
        days_before=tuple(days for days, _ in LEVELS),
    )
    if vectors == 0:
        return [end]
    begin = Remembered(
        uid=f"begin/{uid}",
        day=date.fromisoformat(sunset["latest_safe_start"]),
        summary=f"last safe day to begin moving away from {model}",
        description=about,
        days_before=(7, 1),
    )
    return [end, begin]


def _price_of_replacement(catalogue: Catalogue, key: ModelKey) -> float | None:
    """Return what the provider's own recommendation costs; None when it names none, or nobody knows its price."""
    for fact in catalogue.history(key, Attribute.REPLACEMENT):
        for region in dict.fromkeys((key.region, "")):
            successor = ModelKey(channel=key.channel, model=fact.value, region=region)
            price = catalogue.fact(successor, Attribute.PRICE_USD)
            if price is not None:
                return float(price.value)
    return None
