"""What is known of embedding models in the world: facts, each with its source, its date and how far it is trusted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum
from typing import assert_never

from undrift.errors import BadConfig


class Attribute(Enum):
    """What a fact is about."""

    #: Length of its vectors, unless another one is asked for.
    DIMENSIONS = "dimensions"
    #: The longest text it takes, in its own tokens.
    MAX_TOKENS = "max_tokens"
    #: US dollars for a million tokens, answered at once.
    PRICE_USD = "price_usd"
    #: US dollars for a million tokens through the batch API.
    BATCH_PRICE_USD = "batch_price_usd"
    #: Whether its vectors have length one: `yes` or `no`.
    NORMALIZED = "normalized"
    #: The day on which its end was announced.
    ANNOUNCED = "announced"
    #: The day from which it does not answer any more.
    SHUTDOWN = "shutdown"
    #: What its provider recommends instead; never a drop-in, its vectors are of another space.
    REPLACEMENT = "replacement"
    #: Another model of the same channel whose vectors may be compared with its own.
    SHARES_SPACE_WITH = "shares_space_with"
    #: The hash of its weights.
    REVISION = "revision"
    #: Another name of it on the same channel.
    ALSO_CALLED = "also_called"


class Precision(Enum):
    """How a date is meant."""

    #: On that day.
    EXACT = "exact"
    #: On that day or later: the provider promises no more.
    NOT_BEFORE = "not_before"
    #: One source names that day, and it is not the provider.
    PROBABLE = "probable"


class Confidence(Enum):
    """How far a fact is trusted."""

    #: The provider's own word, or two independent sources.
    HIGH = "high"
    #: One good source that is not the provider.
    MEDIUM = "medium"
    #: One weak source.
    LOW = "low"


#: Attributes of which a model may have several at a time.
_MANY = frozenset({Attribute.REPLACEMENT, Attribute.SHARES_SPACE_WITH, Attribute.ALSO_CALLED})
#: The dearest embedding there ever was cost 200; published lists have prices that are a thousand times too high.
_DEAREST_USD = 500.0
_MOST_DIMENSIONS = 65_536


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ModelKey:
    """A model where it is called: the same name may live on one channel and be gone on another.

    Attributes:
        channel: who answers, such as `openai`, `azure-openai`, `vertex`.
        model: its name there, letter by letter.
        region: the region, where dates or prices differ by it; else empty.
    """

    channel: str
    model: str
    region: str = ""

    def __str__(self) -> str:
        """Return it as people write it."""
        return f"{self.channel}/{self.model}" + (f" ({self.region})" if self.region else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One observation; a later one does not replace it, so that one sees how dates moved.

    Attributes:
        key: of which model.
        attribute: about what.
        value: as it is written in the catalogue.
        precision: how a date is meant; only of a shutdown.
        source: where it was read.
        seen: when it was read.
        confidence: how far it is trusted.
    """

    key: ModelKey
    attribute: Attribute
    value: str
    precision: Precision | None = None
    source: str
    seen: date
    confidence: Confidence

    @property
    def origin(self) -> str:
        """Whose word it is, whichever version of it."""
        return self.source.split()[0]

    @property
    def day(self) -> date:
        """The value of a fact that is a day."""
        return date.fromisoformat(self.value)

    def as_dict(self) -> dict[str, str]:
        """Return its JSON shape."""
        shown = {"value": self.value, "source": self.source, "seen": self.seen.isoformat()}
        shown |= {"confidence": self.confidence.value}
        return shown | ({"precision": self.precision.value} if self.precision else {})


def checked_fact(fact: Fact) -> Fact:
    """Return a fact whose value can be one.

    Raises:
        BadConfig: it has no source, or a value that cannot be.
    """
    wrong = _wrong_with(fact)
    if wrong:
        raise BadConfig(f"the catalogue's {fact.attribute.value} of {fact.key} {wrong}", f"it says {fact.value!r}")
    return fact


def _wrong_with(fact: Fact) -> str:
    if not fact.source.strip():
        return "names no source"
    if not fact.value.strip():
        return "is empty"
    if (fact.precision is not None) != (fact.attribute is Attribute.SHUTDOWN):
        return "needs a precision" if fact.precision is None else "cannot have a precision"
    match fact.attribute:
        case Attribute.DIMENSIONS:
            return (
                "" if fact.value.isdigit() and 0 < int(fact.value) <= _MOST_DIMENSIONS else "is no length of a vector"
            )
        case Attribute.MAX_TOKENS:
            return "" if fact.value.isdigit() and int(fact.value) > 0 else "is no number of tokens"
        case Attribute.PRICE_USD | Attribute.BATCH_PRICE_USD:
            return "" if _is_price(fact.value) else f"is no price between 0 and {_DEAREST_USD:g} for a million tokens"
        case Attribute.NORMALIZED:
            return "" if fact.value in {"yes", "no"} else "is neither yes nor no"
        case Attribute.ANNOUNCED | Attribute.SHUTDOWN:
            return "" if _is_day(fact.value) else "is no day as YYYY-MM-DD"
        case Attribute.REPLACEMENT | Attribute.SHARES_SPACE_WITH | Attribute.REVISION | Attribute.ALSO_CALLED:
            return "" if not any(letter.isspace() for letter in fact.value) else "is no name"
        case _:
            assert_never(fact.attribute)


def _is_price(value: str) -> bool:
    try:
        return 0 < float(value) < _DEAREST_USD
    except ValueError:
        return False


def _is_day(value: str) -> bool:
    try:
        return date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


class Catalogue:
    """All facts; what the user says comes before what is shipped, and unknown stays unknown."""

    def __init__(self, shipped: Iterable[Fact], own: Iterable[Fact] = ()) -> None:
        """Hold facts.

        Args:
            shipped: what comes with undrift.
            own: what the user wrote; of an attribute that it names, nothing else counts.
        """
        self._own: dict[ModelKey, list[Fact]] = {}
        self._shipped: dict[ModelKey, list[Fact]] = {}
        for place, facts in ((self._own, own), (self._shipped, shipped)):
            for fact in facts:
                place.setdefault(fact.key, []).append(fact)

    def models(self) -> list[ModelKey]:
        """Return every model there is a fact about."""
        return sorted(self._own.keys() | self._shipped.keys())

    def find(self, name: str) -> list[ModelKey]:
        """Return the models of a name, which may be written as `channel/model`; also by another name of theirs."""
        return [key for key in self.models() if name in {key.model, f"{key.channel}/{key.model}", *self._names(key)}]

    def history(self, key: ModelKey, attribute: Attribute) -> list[Fact]:
        """Return everything that was observed of an attribute, the first first."""
        facts = [one for one in self._own.get(key, ()) if one.attribute is attribute]
        facts = facts or [one for one in self._shipped.get(key, ()) if one.attribute is attribute]
        return sorted(facts, key=lambda fact: (fact.seen, fact.value))

    def last_words(self, key: ModelKey, attribute: Attribute) -> list[Fact]:
        """Return what each source said last; several of one source only where an attribute may have several values."""
        facts = self.history(key, attribute)
        if attribute in _MANY:
            return facts
        return list({fact.origin: fact for fact in facts}.values())

    def fact(self, key: ModelKey, attribute: Attribute) -> Fact | None:
        """Return the fact to go by: the most trusted, then the newest; of shutdowns, the earliest; None for unknown."""
        words = self.last_words(key, attribute)
        if not words:
            return None
        if attribute is Attribute.SHUTDOWN:
            return min(words, key=lambda fact: fact.day)
        trust = list(Confidence)
        return min(reversed(words), key=lambda fact: trust.index(fact.confidence))

    def _names(self, key: ModelKey) -> list[str]:
        return [fact.value for fact in self.history(key, Attribute.ALSO_CALLED)]


#: Who answers at an address, by how its host ends.
_CHANNELS = (
    ("api.openai.com", "openai"),
    (".openai.azure.com", "azure-openai"),
    (".services.ai.azure.com", "azure-foundry"),
    ("generativelanguage.googleapis.com", "gemini-api"),
    ("aiplatform.googleapis.com", "vertex"),
    ("api.cohere.com", "cohere"),
    ("api.cohere.ai", "cohere"),
    ("api.voyageai.com", "voyage"),
    ("api.jina.ai", "jina"),
    ("api.mistral.ai", "mistral"),
    ("api.together.xyz", "together"),
    ("api.fireworks.ai", "fireworks"),
    ("integrate.api.nvidia.com", "nvidia-nim"),
    ("api.perplexity.ai", "perplexity"),
)


def channel_of(channel: str) -> str:
    """Return what the catalogue calls the channel of a space, which may be the host that computes its vectors."""
    if channel == "sentence-transformers":
        return "open"
    return next((known for ending, known in _CHANNELS if channel.endswith(ending)), channel)


#: Days before the end at which one is told again, and how urgent it is from then on.
LEVELS: Sequence[tuple[int, str]] = (
    (180, "info"),
    (90, "info"),
    (60, "warn"),
    (30, "warn"),
    (14, "page"),
    (7, "page"),
    (1, "page"),
)
#: Days that are kept between the end of a migration and that of the model: evaluation, and a way back.
MARGIN_DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Sunset:
    """The end of a model, as far as it is known.

    Attributes:
        key: which model.
        end: the fact to go by.
        others: what other sources say, and what was said before.
    """

    key: ModelKey
    end: Fact
    others: tuple[Fact, ...]

    @property
    def disagreeing(self) -> tuple[Fact, ...]:
        """Last words of other sources that name another day."""
        last = {fact.origin: fact for fact in (*self.others, self.end)}
        return tuple(fact for fact in last.values() if fact.value != self.end.value and fact.origin != self.end.origin)

    @property
    def moved(self) -> bool:
        """Whether a source named another day before."""
        return any(
            before.origin == after.origin and before.value != after.value and before.seen < after.seen
            for before in (*self.others, self.end)
            for after in (*self.others, self.end)
        )

    def level(self, today: date) -> str:
        """Return how urgent it is: `none`, `info`, `warn`, `page`, or `gone` when the day has come."""
        left = (self.end.day - today).days
        if left <= 0 and self.end.precision is Precision.EXACT:
            return "gone"
        return next((name for days, name in reversed(LEVELS) if left <= days), "none")

    def latest_safe_start(self, hours: float) -> date:
        """Return the last day on which a migration that takes so long may begin."""
        return self.end.day - timedelta(days=MARGIN_DAYS + math.ceil(hours / 24))


def sunset_of(catalogue: Catalogue, key: ModelKey) -> Sunset | None:
    """Return the end of a model, or None when nobody has named one."""
    end = catalogue.fact(key, Attribute.SHUTDOWN)
    if end is None:
        return None
    others = tuple(fact for fact in catalogue.history(key, Attribute.SHUTDOWN) if fact is not end)
    return Sunset(key=key, end=end, others=others)
