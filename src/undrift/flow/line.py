"""The line to one model: calls that are paced, paid for, and made again while the model does not answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from undrift.domain.space import Space
from undrift.errors import EmbedderRejected, EmbedderUnavailable, TextTooLong
from undrift.flow.oversight import UNSEEN, Oversight
from undrift.flow.pacing import Pacer
from undrift.flow.paying import Meter, Purse
from undrift.ports.embedder import BEFORE_RETRY, WATCH, EmbedderLimits, TokenCount
from undrift.ports.runtime import Clock

#: Calls of one batch while the model does not answer, and how long they may take together, in seconds. A model that
#: has waited and retried by itself for so long is not asked again.
ATTEMPTS = 4
PATIENCE_S = 30.0
_FIRST_PAUSE_S = 0.5
#: Tokens that a model puts around a text at most, which are billed as well.
_MARKS = 4

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """How one model is called; safe to use from several threads.

    Attributes:
        limits: what the model takes and costs.
        space: the space of its vectors.
        clock: what retries wait with.
        pacer: the pace that its account shares with other processes, if any.
    """

    limits: EmbedderLimits
    space: Space
    clock: Clock
    pacer: Pacer | None = None

    def most_tokens(self, oversight: Oversight) -> int | None:
        """Return the most tokens that a request should have; None for any number."""
        pacer = self._pacer_for(oversight)
        return pacer.most_tokens if pacer is not None else None

    def meter(self, sent: Sequence[str], counted: TokenCount, *, purse: Purse | None, oversight: Oversight) -> Meter:
        """Return what paces a call with these texts and pays for it."""
        return Meter(
            tokens=counted.tokens,
            most=most_billed(sent, counted, space=self.space, limits=self.limits),
            purse=purse,
            pacer=self._pacer_for(oversight),
            oversight=oversight,
            clock=self.clock,
        )

    def ask(self, call: Callable[[], _T], meter: Meter) -> _T:
        """Make a call, and settle what it cost whatever becomes of it."""
        meter.begin()
        try:
            answer = self._patiently(call, meter)
        except (EmbedderRejected, TextTooLong):
            meter.refused()
            raise
        except BaseException:
            meter.lost()
            raise
        meter.answered()
        return answer

    def ask_for_query(self, call: Callable[[], _T]) -> _T:
        """Make a call for a search, which waits for no pace and is paid for by nobody's budget."""
        nothing = Meter(tokens=0, most=0, purse=None, pacer=None, oversight=UNSEEN, clock=self.clock)
        return self.ask(call, nothing)

    def _pacer_for(self, oversight: Oversight) -> Pacer | None:
        """Return the pace to keep: an application asks the ledger for it only where it is configured."""
        pacer = self.pacer
        return pacer if pacer is not None and (oversight.is_work or not pacer.limits.is_silent) else None

    def _patiently(self, call: Callable[[], _T], meter: Meter) -> _T:
        """Call the model, again and with growing pauses while it does not answer."""
        began = self.clock.monotonic()
        pause = _FIRST_PAUSE_S
        told_to, watched = BEFORE_RETRY.set(meter.before_retry), WATCH.set(meter)
        try:
            for _ in range(ATTEMPTS - 1):
                try:
                    return call()
                except EmbedderUnavailable as error:
                    if self.clock.monotonic() - began + pause > PATIENCE_S:
                        raise
                    meter.before_retry(f"{error.message}; tried again in {pause:g} s")
                    self.clock.sleep(pause)
                    pause *= 2
                meter.before_retry("")
            return call()
        finally:
            BEFORE_RETRY.reset(told_to)
            WATCH.reset(watched)


def most_billed(sent: Sequence[str], counted: TokenCount, *, space: Space, limits: EmbedderLimits) -> int:
    """Return the most that texts can be billed for: a token is a byte at least, whatever the tokenizer."""
    if counted.exact or not limits.reports_usage:
        return counted.tokens
    longest = space.max_tokens
    sizes = (len(text.encode("utf-8", "surrogatepass")) for text in sent)
    most = sum(size if longest is None else min(size, longest) for size in sizes)
    return max(counted.tokens, most + _MARKS * len(sent))
