"""What is known of embedding models in the world: facts, each with its source, its date and how far it is trusted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from enum import Enum

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
    #: The kind of its tokenizer, such as `cl100k_base`.
    TOKENIZER = "tokenizer"
    #: Requests that an account may send in a minute.
    REQUESTS_PER_MINUTE = "requests_per_minute"
    #: Tokens that an account may send in a minute.
    TOKENS_PER_MINUTE = "tokens_per_minute"
    #: Texts that an account may send in a minute.
    INPUTS_PER_MINUTE = "inputs_per_minute"
    #: Requests that an account may send in a day.
    REQUESTS_PER_DAY = "requests_per_day"
    #: Most texts in a request.
    INPUTS_PER_REQUEST = "inputs_per_request"
    #: Most tokens in a request.
    TOKENS_PER_REQUEST = "tokens_per_request"
    #: Most tokens that an account may have in the queue of the batch interface.
    BATCH_QUEUE_TOKENS = "batch_queue_tokens"
    #: Most texts in a batch.
    BATCH_INPUTS = "batch_inputs"
    #: Largest file of a batch, in bytes.
    BATCH_BYTES = "batch_bytes"
    #: Hours that a batch usually takes.
    BATCH_HOURS = "batch_hours"
    #: Hours that a batch may take.
    BATCH_WORST_HOURS = "batch_worst_hours"


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
MANY = frozenset({Attribute.REPLACEMENT, Attribute.SHARES_SPACE_WITH, Attribute.ALSO_CALLED})
#: What an account may do, which may be another for each tier of accounts and the same for all models of a channel.
LIMITS = frozenset(
    {
        Attribute.REQUESTS_PER_MINUTE,
        Attribute.TOKENS_PER_MINUTE,
        Attribute.INPUTS_PER_MINUTE,
        Attribute.REQUESTS_PER_DAY,
        Attribute.INPUTS_PER_REQUEST,
        Attribute.TOKENS_PER_REQUEST,
        Attribute.BATCH_QUEUE_TOKENS,
        Attribute.BATCH_INPUTS,
        Attribute.BATCH_BYTES,
        Attribute.BATCH_HOURS,
        Attribute.BATCH_WORST_HOURS,
    }
)
#: In the place of a model: every model of the channel.
EVERY = "*"
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
        tier: for which tier of accounts, by the provider's name for it; empty for all of them. Only of limits.
    """

    key: ModelKey
    attribute: Attribute
    value: str
    precision: Precision | None = None
    source: str
    seen: date
    confidence: Confidence
    tier: str = ""

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
        shown |= {"tier": self.tier} if self.tier else {}
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
    if fact.tier and fact.attribute not in LIMITS:
        return "is the same for every tier of accounts"
    if fact.key.model == EVERY and fact.attribute not in LIMITS | {Attribute.TOKENIZER}:
        return "cannot be said of all models at once"
    if fact.attribute in LIMITS:
        return "" if _is_amount(fact.value) else "is no number above 0"
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
        case _:
            return "" if not any(letter.isspace() for letter in fact.value) else "is no name"


def _is_price(value: str) -> bool:
    try:
        return 0 < float(value) < _DEAREST_USD
    except ValueError:
        return False


def _is_amount(value: str) -> bool:
    try:
        return 0 < float(value) < float("inf")
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
        return sorted(key for key in self._own.keys() | self._shipped.keys() if key.model != EVERY)

    def find(self, name: str) -> list[ModelKey]:
        """Return the models of a name, which may be written as `channel/model`; also by another name of theirs."""
        return [key for key in self.models() if name in {key.model, f"{key.channel}/{key.model}", *self._names(key)}]

    def history(self, key: ModelKey, attribute: Attribute) -> list[Fact]:
        """Return everything that was observed of an attribute, the first first."""
        facts = [one for one in self._own.get(key, ()) if one.attribute is attribute]
        facts = facts or [one for one in self._shipped.get(key, ()) if one.attribute is attribute]
        # Of two observations of one day the later one stands behind, as it was heard.
        return sorted(facts, key=lambda fact: fact.seen)

    def observed(self, key: ModelKey, attribute: Attribute) -> list[Fact]:
        """Return everything that was observed of an attribute, whatever the user says, in the order it was heard in."""
        return [one for one in self._shipped.get(key, ()) if one.attribute is attribute]

    def last_words(self, key: ModelKey, attribute: Attribute) -> list[Fact]:
        """Return what each source said last; several of one source only where an attribute may have several values."""
        facts = self.history(key, attribute)
        if attribute in MANY:
            return facts
        return list({fact.origin: fact for fact in facts}.values())

    def fact(self, key: ModelKey, attribute: Attribute) -> Fact | None:
        """Return the fact to go by: the most trusted, then the newest; of shutdowns, the earliest; None for unknown."""
        words = self.last_words(key, attribute)
        if not words:
            return None
        if attribute is Attribute.SHUTDOWN:
            return min(words, key=lambda fact: fact.day)
        return max(reversed(words), key=_trust)

    def limit(self, key: ModelKey, attribute: Attribute, tier: str = "") -> Fact | None:
        """Return a limit of an account: of the model before of all models, of the tier before of all tiers.

        What the user says comes first. None for unknown.
        """
        every = ModelKey(channel=key.channel, model=EVERY)
        for facts in (self._own, self._shipped):
            for place in dict.fromkeys((key, replace(key, region=""), every)):
                said = [one for one in facts.get(place, ()) if one.attribute is attribute and one.tier in {tier, ""}]
                if said:
                    return max(said, key=lambda fact: (fact.tier == tier, _trust(fact), fact.seen))
        return None

    def tiers(self, key: ModelKey) -> list[str]:
        """Return the tiers of accounts that there are limits of, the narrowest first."""
        every = ModelKey(channel=key.channel, model=EVERY)
        facts = [one for place in (key, every) for kept in (self._own, self._shipped) for one in kept.get(place, ())]
        narrowest = {
            tier: min(float(one.value) for one in facts if one.tier == tier)
            for tier in dict.fromkeys(one.tier for one in facts if one.tier)
        }
        return sorted(narrowest, key=lambda tier: (narrowest[tier], tier))

    def tokenizer(self, key: ModelKey) -> Fact | None:
        """Return the kind of tokenizer of a model, or that of all models of its channel; None for unknown."""
        return self.fact(key, Attribute.TOKENIZER) or self.fact(
            ModelKey(channel=key.channel, model=EVERY), Attribute.TOKENIZER
        )

    def shares_space(self, one: ModelKey, other: ModelKey) -> Fact | None:
        """Return the fact that vectors of two models of a channel may be compared; None where nobody says so."""
        if one.channel != other.channel:
            return None
        return next(
            (fact for fact in self.history(one, Attribute.SHARES_SPACE_WITH) if fact.value == other.model), None
        )

    def _names(self, key: ModelKey) -> list[str]:
        return [fact.value for fact in self.history(key, Attribute.ALSO_CALLED)]


def _trust(fact: Fact) -> int:
    return -list(Confidence).index(fact.confidence)


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
    ("openrouter.ai", "openrouter"),
)


def channel_of(channel: str) -> str:
    """Return what the catalogue calls the channel of a space, which may be the host that computes its vectors."""
    if channel == "sentence-transformers":
        return "open"
    return next((known for ending, known in _CHANNELS if channel.endswith(ending)), channel)
