"""How many tokens a collection has, from a sample of it, and how far that can be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from undrift.domain.pieces import Sketch

#: Fewest texts that an estimate is made from; of fewer there are, all are counted.
FEWEST_SAMPLED = 1000
#: Of a normal distribution, 95 % lie within so many standard deviations.
_Z95 = 1.959964


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEstimate:
    """Tokens of some texts.

    Attributes:
        tokens: how many.
        low: with 95 % confidence not fewer; the same as `tokens` where they were counted.
        high: with 95 % confidence not more.
        exact: whether the model's own tokenizer counted all of them.
        rests_on: what the number rests on, for a person.
        sampled: texts that were counted, if not all of them; else 0.
    """

    tokens: int
    low: int
    high: int
    exact: bool
    rests_on: str
    sampled: int = 0

    @property
    def error(self) -> float:
        """How far the interval reaches, as a share of the estimate."""
        return max(self.high - self.tokens, self.tokens - self.low) / self.tokens if self.tokens else 0.0


def from_sample(
    sizes: Sequence[int],
    counts: Sequence[float],
    *,
    total_size: int,
    population: int,
    rests_on: str,
    bias: float = 0.0,
) -> TokenEstimate:
    r"""Estimate the tokens of all texts from those of a simple random sample without replacement.

    The ratio estimator (Cochran, Sampling Techniques, 3rd edition 1977, equations 6.1 and 6.13): with x the characters
    of a text, y its tokens, n texts sampled of N, and X the characters of all texts, which are known,

        R = sum(y) / sum(x)        T = R * X
        se(T) = N * sqrt((1 - n/N) / n * sum((y - R*x)**2) / (n - 1))        interval: T ± 1.96 * se(T)

    Long texts have many tokens, so the characters take nearly all of the variation away.

    Args:
        sizes: characters of each sampled text.
        counts: tokens of each, counted by a tokenizer, or reckoned by a `Family`.
        total_size: characters of all texts.
        population: how many texts there are.
        rests_on: what the counts rest on.
        bias: by which share the counts themselves may be wrong (95 %); the interval grows by it on both sides.
    """
    sampled, size, counted = len(sizes), sum(sizes), sum(counts)
    if not size or not population:
        return TokenEstimate(tokens=0, low=0, high=0, exact=not bias, rests_on=rests_on)
    ratio = counted / size
    total = ratio * total_size
    error = 0.0
    if 1 < sampled < population:
        residuals = math.fsum((count - ratio * one) ** 2 for one, count in zip(sizes, counts, strict=True))
        error = _Z95 * population * math.sqrt((1 - sampled / population) / sampled * residuals / (sampled - 1))
    return TokenEstimate(
        tokens=round(total),
        low=math.floor(max(0.0, total - error) * (1 - bias)),
        high=math.ceil((total + error) * (1 + bias)),
        exact=sampled >= population and not bias,
        rests_on=rests_on,
        sampled=0 if sampled >= population else sampled,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A kind of tokenizer, and how its tokens are reckoned where it is not there.

    Attributes:
        sketch: its vocabulary, or that of another one that is taken for it.
        error: by which share the reckoning may be wrong for a whole collection (95 %).
        basis: how the figures were found.
    """

    sketch: Sketch
    error: float
    basis: str

    def reckon(self, text: str) -> int:
        """Reckon the tokens of a text; over a whole collection this is right within `error`."""
        return max(1, self.sketch.count(text))
