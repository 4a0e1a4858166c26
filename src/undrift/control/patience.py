"""Try what is refused for a moment only again, later and later, and say how often that was."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from undrift.domain.wording import plural
from undrift.errors import UndriftError
from undrift.ports.runtime import Clock

_T = TypeVar("_T")

#: Gates that are closed for a moment only, as often as not.
PASSING_GATES = frozenset({"lag", "acknowledged"})
_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 30.0
#: Somebody who waits looks after the rest of this process so often.
_SLICE_S = 0.5


def until_allowed(
    attempt: Callable[[], _T],
    *,
    may_pass: Callable[[UndriftError], bool],
    max_wait_s: float,
    clock: Clock,
    on_wait: Callable[[str], None],
    beat: Callable[[], None],
) -> _T:
    """Call something until it is allowed, or the time is up.

    Args:
        attempt: raises when it is refused.
        may_pass: whether a refusal may pass by itself.
        max_wait_s: how long to go on; 0 for one attempt.
        clock: the source of time.
        on_wait: told why it waits, which attempt that was, and when the next one is.
        beat: keeps this process's lease meanwhile.

    Raises:
        UndriftError: a refusal that will not pass by itself, or the last one, with the number of attempts.
    """
    began = clock.monotonic()
    attempts, pause_s = 0, _FIRST_WAIT_S
    while True:
        attempts += 1
        try:
            return attempt()
        except UndriftError as error:
            if not max_wait_s or not may_pass(error):
                raise
            left_s = max_wait_s - (clock.monotonic() - began)
            if left_s <= 0:
                tries = f"tried {plural(attempts, 'time')} in {max_wait_s:g} s"
                detail = f"{error.detail}\n{tries}" if error.detail else tries
                raise type(error)(error.message, detail, error.hint) from error
            wait_s = min(pause_s, left_s)
            reason = error.detail.partition("\n")[0] or error.message
            on_wait(f"{reason}; attempt {attempts} was refused, tried again in {wait_s:.0f} s, for {left_s:.0f} s more")
        _rest(wait_s, clock, beat)
        pause_s = min(pause_s * 2, _LONGEST_WAIT_S)


def await_moment(moment: datetime, *, clock: Clock, on_wait: Callable[[str], None], beat: Callable[[], None]) -> None:
    """Wait until a time of the wall clock, and keep this process's lease meanwhile."""
    while (left_s := (moment - clock.now()).total_seconds()) > 0:
        on_wait(f"{moment:%Y-%m-%d %H:%M:%S %Z}, the time that --at names, in {left_s:.0f} s: Ctrl-C ends the wait")
        _rest(min(left_s, 1.0), clock, beat)


def _rest(seconds: float, clock: Clock, beat: Callable[[], None]) -> None:
    until = clock.monotonic() + seconds
    while (left_s := until - clock.monotonic()) > 0:
        beat()
        clock.sleep(min(left_s, _SLICE_S))
