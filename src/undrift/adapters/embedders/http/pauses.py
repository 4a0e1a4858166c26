"""How long a request to a provider waits before it is sent again, and who is told."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from undrift.adapters.embedders.http.refusal import Refusal
from undrift.errors import EmbedderFailed
from undrift.ports.embedder import BEFORE_RETRY

if TYPE_CHECKING:
    from tenacity import RetryCallState

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 20.0
#: Servers that ask many clients to wait for the same time would meet them all again at once.
_SPREAD_S = 0.25
#: Times that a server may fail at one request, each of which may be billed.
_FAILURES = 5


def pause(state: RetryCallState) -> float:
    """Wait as long as the server asked for; otherwise a random part of a time that doubles."""
    outcome = state.outcome.result() if state.outcome else None
    if isinstance(outcome, Refusal) and outcome.wait_s is not None:
        return outcome.wait_s + random.uniform(0, _SPREAD_S)
    longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (state.attempt_number - 1))
    return random.uniform(longest / 2, longest)


def has_failed_often(state: RetryCallState) -> bool:
    """Whether the server failed at it so often that the request may be to blame."""
    outcome = state.outcome.result() if state.outcome else None
    is_failure = isinstance(outcome, Refusal) and isinstance(outcome.error, EmbedderFailed)
    return is_failure and state.attempt_number >= _FAILURES


def tell_before_it_waits(state: RetryCallState) -> None:
    """Tell why, and how long."""
    outcome = state.outcome.result() if state.outcome is not None else None
    pause_s = state.next_action.sleep if state.next_action else 0.0
    if isinstance(outcome, Refusal):
        BEFORE_RETRY.get()(f"{outcome.error.message}; tried again in {pause_s:.0f} s")


def ask_before_it_is_sent_again(state: RetryCallState) -> None:
    """Ask whether it may be sent again."""
    if state.attempt_number > 1:
        BEFORE_RETRY.get()("")


def last_outcome(state: RetryCallState) -> Any:
    """Return what came of it when it is given up."""
    return state.outcome.result() if state.outcome else None
