"""How fast a provider lets an account go, as its own answers say it."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenLimits:
    """What one answer said of the account's limits; None where it said nothing, which is not the same as no limit.

    Attributes:
        requests_per_min: requests that the account may send in a minute.
        tokens_per_min: tokens that it may send in a minute.
        remaining_requests: requests that are left of that at the moment.
        remaining_tokens: tokens that are left of that at the moment.
        reset_requests_s: seconds until all the requests are there again.
        reset_tokens_s: seconds until all the tokens are there again.
        retry_after_s: seconds that the provider asks to wait before the next request.
    """

    requests_per_min: int | None = None
    tokens_per_min: int | None = None
    remaining_requests: int | None = None
    remaining_tokens: int | None = None
    reset_requests_s: float | None = None
    reset_tokens_s: float | None = None
    retry_after_s: float | None = None

    @property
    def is_silent(self) -> bool:
        """Whether the answer said nothing of limits."""
        return all(getattr(self, field.name) is None for field in fields(self))
