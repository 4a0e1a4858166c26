"""What it costs to embed a collection anew, in money and hours at the limits of an account: figures in and out."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

#: Of a limit, work that is repeated when it was refused, beside live traffic, reaches about so much.
UTILISATION = 0.8
_MINUTES = 60.0
_DAY_MINUTES = 24 * 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be embedded.

    Attributes:
        inputs: texts, each once.
        tokens: their tokens, with prefixes.
        bytes: their bytes in UTF-8.
    """

    inputs: int
    tokens: int
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast an account may go while it is answered at once; None where nobody knows.

    Attributes:
        requests_per_minute: requests that it may send in a minute.
        tokens_per_minute: tokens that it may send in a minute.
        inputs_per_minute: texts that it may send in a minute.
        requests_per_day: requests that it may send in a day.
        inputs_per_request: most texts in a request.
        tokens_per_request: most tokens in a request.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    inputs_per_minute: float | None = None
    requests_per_day: float | None = None
    inputs_per_request: int | None = None
    tokens_per_request: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTerms:
    """What a provider's batch interface takes, and when it answers; None where nobody knows.

    Attributes:
        queue_tokens: most tokens that an account may have in the queue at a time.
        inputs_per_batch: most texts in one batch, summed over all its lines.
        bytes_per_batch: largest file of one batch.
        expected_hours: how long a batch usually takes.
        worst_hours: how long it may take.
    """

    queue_tokens: int | None = None
    inputs_per_batch: int | None = None
    bytes_per_batch: int | None = None
    expected_hours: float | None = None
    worst_hours: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Online:
    """Hours of the work when every request is answered at once, and which limit decides."""

    hours: float
    requests: int
    bound_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Batched:
    """Hours of the work through a batch interface.

    Attributes:
        files: batches it is sent in.
        waves: how often the queue is filled.
        expected_hours: with the time that a batch usually takes.
        worst_hours: with the time that it may take.
    """

    files: int
    waves: int
    expected_hours: float | None
    worst_hours: float | None


def usd(tokens: float, per_million: float | None) -> float | None:
    """Return the price of tokens in US dollars; None for an unknown one."""
    return None if per_million is None else tokens * per_million / 1e6


def requests_of(work: Work, pace: Pace) -> int:
    """Return the fewest requests that hold the work: max(ceil(inputs / items), ceil(tokens / tokens of a request))."""
    by_inputs = math.ceil(work.inputs / (pace.inputs_per_request or max(1, work.inputs)))
    by_tokens = math.ceil(work.tokens / pace.tokens_per_request) if pace.tokens_per_request else 0
    return max(by_inputs, by_tokens)


def online(work: Work, pace: Pace, *, reserved: float = 0.0) -> Online | None:
    """Return how long the work takes: the longest of tokens, requests and texts, each at its limit.

        T = max(tokens / (u * TPM), requests / (u * RPM), inputs / (u * IPM), requests / RPD)

    with u = 0.8; a day's requests are not spread, so all of them are used.

    Args:
        work: what is to be embedded.
        pace: the account's limits.
        reserved: the share of the limits that is kept free for searches.

    Returns:
        None when no limit is known, because then no time is.
    """
    requests = requests_of(work, pace)
    share = UTILISATION * (1 - reserved)
    minutes = {
        "tokens a minute": _time(work.tokens, pace.tokens_per_minute, share),
        "requests a minute": _time(requests, pace.requests_per_minute, share),
        "texts a minute": _time(work.inputs, pace.inputs_per_minute, share),
        "requests a day": _time(requests, pace.requests_per_day, 1 - reserved, unit=_DAY_MINUTES),
    }
    known = {name: value for name, value in minutes.items() if value is not None}
    if not known:
        return None
    bound_by = max(known, key=lambda name: known[name])
    return Online(hours=known[bound_by] / _MINUTES, requests=requests, bound_by=bound_by)


def _time(amount: float, limit: float | None, share: float, unit: float = 1.0) -> float | None:
    return None if limit is None else amount / (share * limit) * unit


def batched(work: Work, terms: BatchTerms) -> Batched | None:
    """Return how long the work takes through a batch interface: so many waves, one after the other.

        waves = ceil(tokens / queue)        files = max(inputs / 50,000, bytes / 200 MB, tokens / queue)

    with the figures of the provider; a queue that nobody knows takes everything at once.

    Returns:
        None when nothing is known of such an interface.
    """
    if all(getattr(terms, field.name) is None for field in fields(terms)):
        return None
    waves = max(1, math.ceil(work.tokens / terms.queue_tokens)) if terms.queue_tokens else 1
    files = max(
        waves,
        math.ceil(work.inputs / terms.inputs_per_batch) if terms.inputs_per_batch else 1,
        math.ceil(work.bytes / terms.bytes_per_batch) if terms.bytes_per_batch else 1,
    )
    return Batched(
        files=files,
        waves=waves,
        expected_hours=None if terms.expected_hours is None else waves * terms.expected_hours,
        worst_hours=None if terms.worst_hours is None else waves * terms.worst_hours,
    )


def better(at_once: Online | None, in_batches: Batched | None) -> str | None:
    """Return what wins, `online` or `batch`; None when one of them is not known.

    A batch is cheaper wherever there is one, so it wins unless it is expected to take longer.
    """
    if at_once is None or in_batches is None or in_batches.expected_hours is None:
        return None
    return "batch" if in_batches.expected_hours <= at_once.hours else "online"


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What a vector of d dimensions takes in a store.

    Attributes:
        per_dimension: bytes for each dimension, the index included.
        per_vector: bytes beside them: headers, links of the index.
        basis: where that is from.
    """

    per_dimension: float = 4.0
    per_vector: float = 0.0
    basis: str = "four bytes a dimension, without an index; the store declares nothing"

    def bytes_of(self, dimensions: int) -> int:
        """Return the bytes of one vector."""
        return math.ceil(self.per_dimension * dimensions + self.per_vector)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a plan said, kept to be compared with what was spent.

    Attributes:
        tokens: tokens of the back-fill.
        low: with 95 % confidence not fewer.
        high: with 95 % confidence not more.
        exact: whether they were counted.
        usd: their price; None when it is not known.
        spent: tokens that had been spent when the back-fill was done; None before.
    """

    tokens: int
    low: int
    high: int
    exact: bool
    usd: float | None = None
    spent: int | None = None

    @property
    def error(self) -> float | None:
        """By which share the estimate was too high (positive) or too low; None before the back-fill is done."""
        return None if not self.spent else self.tokens / self.spent - 1

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        shown = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**shown, "error": None if self.error is None else round(self.error, 4)}
