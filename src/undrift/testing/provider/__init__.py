"""A local server that speaks the dialects of embedding providers over any model, with limits and failures on demand."""

from __future__ import annotations

from undrift.testing.provider.batches import Outcome
from undrift.testing.provider.faults import AnswerAs, Fault, Refuse, Spoil, Wait, quota_exhausted, rate_limited
from undrift.testing.provider.limits import AccountLimits
from undrift.testing.provider.service import EmbeddingProvider, Request

__all__ = [
    "AccountLimits",
    "AnswerAs",
    "EmbeddingProvider",
    "Fault",
    "Outcome",
    "Refuse",
    "Request",
    "Spoil",
    "Wait",
    "quota_exhausted",
    "rate_limited",
]
