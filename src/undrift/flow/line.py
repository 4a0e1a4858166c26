"""The line to one model: calls that are paced, paid for, and made again while the model does not answer."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from undrift.errors import EmbedderRejected, EmbedderUnavailable, TextTooLong
from undrift.flow.oversight import UNSEEN, Oversight
from undrift.flow.pacing import Pacer
from undrift.flow.paying import PAYER, Meter, Purse
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


def _most_bytes(text: str) -> int:
    if text.isascii():
        return len(text)
    forms = (text, unicodedata.normalize("NFKC", text))
    return max(len(form.encode("utf-8", "surrogatepass")) for form in forms)


@dataclass(slots=True, kw_only=True)
class Line:
    """How one model is called; safe to use from several threads.

    Attributes:
        limits: what the model takes and costs.
        clock: what retries wait with.
        pacer: the pace that its account shares with other processes, if any.
        trusts_counts: whether counts that are said to be exact are believed; not any more after a higher bill.
    """

    limits: EmbedderLimits
    clock: Clock
    pacer: Pacer | None = None
    trusts_counts: bool = True

    def most_tokens(self, oversight: Oversight) -> int | None:
        """Return the most tokens that a request should have; None for any number."""
        pacer = self._pacer_for(oversight)
        return pacer.most_tokens if pacer is not None else None

    def meter(self, sent: Sequence[str], counted: TokenCount, *, purse: Purse | None, oversight: Oversight) -> Meter:
        """Return what paces a call with these texts and pays for it."""
        if purse is None and self.limits.paid and (payer := PAYER.get()) is not None:
            purse = payer(self.limits)
        return Meter(
            tokens=counted.tokens,
            most=most_billed(sent, counted, self.limits, is_trusted=self.trusts_counts),
            purse=purse,
            pacer=self._pacer_for(oversight),
            oversight=oversight,
            clock=self.clock,
            on_excess=self._distrust,
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

    def ask_for_query(self, call: Callable[[], _T], count: Callable[[], tuple[Sequence[str], TokenCount]]) -> _T:
        """Make a call for a search, which waits for no pace; paid for only where a migration proves its model."""
        payer = PAYER.get() if self.limits.paid else None
        sent, counted = count() if payer is not None else ((), TokenCount(tokens=0, exact=True))
        meter = Meter(
            tokens=counted.tokens,
            most=most_billed(sent, counted, self.limits, is_trusted=self.trusts_counts),
            purse=payer(self.limits) if payer is not None else None,
            pacer=None,
            oversight=UNSEEN,
            clock=self.clock,
        )
        return self.ask(call, meter)

    def _distrust(self) -> None:
        self.trusts_counts = False

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


def most_billed(sent: Sequence[str], counted: TokenCount, limits: EmbedderLimits, *, is_trusted: bool = True) -> int:
    """Return the most that texts can be billed for.

    Whatever the tokenizer, a token is a byte at least: of the text, or of the form that some bring it into first, which
    can be longer. A declared `max_tokens` is no bound; the server may take more than that.

    Args:
        sent: the texts, prefixes included.
        counted: their tokens.
        limits: what the model takes and costs.
        is_trusted: whether a count is what the provider bills, as far as its answers have shown.
    """
    if not limits.reports_usage or (counted.exact and is_trusted):
        return counted.tokens
    return max(counted.tokens, sum(map(_most_bytes, sent)) + _MARKS * len(sent))
