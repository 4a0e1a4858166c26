"""Pays for the requests of one call of a model: put aside before each is sent, settled when its cost is known."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Protocol

from undrift.domain.pace import SeenLimits
from undrift.errors import BackendError, BudgetExhausted
from undrift.flow.oversight import Oversight
from undrift.flow.pacing import Pacer
from undrift.ports.embedder import EmbedderLimits, Watch
from undrift.ports.runtime import Clock

#: Requests under way are answered, or given up, within this time. In seconds.
_PATIENCE_S = 300.0
_LOOK_S = 0.25

_log = logging.getLogger(__name__)


class Purse(Protocol):
    """What pays for requests: a migration's budget, or the allowance of an examination. Safe from several threads."""

    def reserve(self, tokens: int) -> bool:
        """Put the most that a request can cost aside, before it is sent.

        Returns:
            False when there is no room for it now, and there may be when requests under way are settled.

        Raises:
            BudgetExhausted: there is no room for it, and there will not be; the request must not be sent.
        """
        ...

    def settle(self, reserved: int, billed: int) -> None:
        """Replace what was put aside by what the request has cost."""
        ...


#: Returns who pays, at that model's price, where nobody is named and the model is paid for: proving a model is at a
#: migration's expense, too. None where there is no migration. It belongs to the thread that asks.
PAYER: ContextVar[Callable[[EmbedderLimits], Purse | None] | None] = ContextVar("payer", default=None)


@contextmanager
def paid_by(payer: Callable[[EmbedderLimits], Purse | None]) -> Iterator[None]:
    """Let somebody pay for what this thread asks of a paid model, for the length of a `with` block."""
    before = PAYER.set(payer)
    try:
        yield
    finally:
        PAYER.reset(before)


class Meter(Watch):
    """One call of a model, which may be several requests: each waits for the pace, and each is paid for.

    A request that was refused costs nothing. One of which nobody knows whether it was answered, because the connection
    broke or this process gave up, counts with the most that it can have cost.
    """

    def __init__(
        self,
        *,
        tokens: int,
        most: int,
        purse: Purse | None,
        pacer: Pacer | None,
        oversight: Oversight,
        clock: Clock,
        on_excess: Callable[[], None] = lambda: None,
    ) -> None:
        """Be ready to begin.

        Args:
            tokens: what a request is estimated at.
            most: the most that it can be billed for.
            purse: what pays; None when nobody has to.
            pacer: the account's pace; None when there is none.
            oversight: asked before each request, and told what is waited for.
            clock: what waits.
            on_excess: called when a request was billed for more than it could be.
        """
        self.spent = 0
        self.cut_texts = 0
        self._tokens = tokens
        self._most = most
        self._purse = purse
        self._pacer = pacer
        self._oversight = oversight
        self._clock = clock
        self._on_excess = on_excess
        self._is_open = False
        self._cost: int | None = None

    def begin(self) -> None:
        """Wait until the first request may be sent, and put its cost aside.

        Raises:
            BudgetExhausted: there is no money for it.
        """
        self._oversight.admit()
        self._open()

    def before_retry(self, reason: str) -> None:
        """Look once more before a request is repeated or waited for; without a reason, it is about to be repeated."""
        self._oversight.before_retry(reason)
        if not reason:
            self._close(self._cost, otherwise=self._most)
            self._open()

    def unbilled(self) -> None:
        """Take note that the last request cost nothing."""
        self._cost = 0

    def billed(self, tokens: int) -> None:
        """Take note of what an answer cost."""
        self._cost = tokens

    def cut(self, texts: int) -> None:
        """Take note that the model cut texts."""
        self.cut_texts += texts

    def sees(self, limits: SeenLimits, *, refused: bool) -> None:
        """Pass on what an answer says of the account's limits."""
        if self._pacer is not None:
            self._pacer.sees(limits, refused=refused)

    def answered(self) -> None:
        """Settle after an answer; one that should say what it cost and does not, counts with the most it can have."""
        self._close(self._cost, otherwise=self._tokens if self._purse is None else self._most)

    def refused(self) -> None:
        """Settle after a refusal."""
        self._close(self._cost, otherwise=0)

    def lost(self) -> None:
        """Settle after whatever else: unless the adapter knows better, the last request may have been billed."""
        self._close(self._cost, otherwise=self._most)

    def _open(self) -> None:
        if self._pacer is not None:
            self._pacer.admit(self._tokens, self._oversight)
        try:
            self._reserve()
        except BaseException:
            if self._pacer is not None:
                self._pacer.ended()
            raise
        self._is_open, self._cost = True, None

    def _reserve(self) -> None:
        if self._purse is None:
            return
        until = self._clock.monotonic() + _PATIENCE_S
        while not self._purse.reserve(self._most):
            if self._clock.monotonic() > until:
                raise BudgetExhausted(
                    "what is left of the budget is put aside for requests that do not end",
                    hint="look for a worker that hangs: undrift status ALIAS",
                )
            self._oversight.waits("the rest of the budget, which is put aside for requests under way")
            self._clock.sleep(_LOOK_S)
            self._oversight.admit()

    def _close(self, cost: int | None, *, otherwise: int) -> None:
        if not self._is_open:
            return
        self._is_open = False
        billed = otherwise if cost is None else cost
        self.spent += billed
        if self._pacer is not None:
            self._pacer.ended()
            # A request that was refused is one all the same to who counts them, so its pace is not given back.
            if cost:
                self._pacer.billed(self._tokens, cost, is_work=self._oversight.is_work)
        if self._purse is not None:
            if billed > self._most:
                _log.warning(
                    "a request was billed for %d tokens, %d more than it can have", billed, billed - self._most
                )
                self._on_excess()
                self._purse.settle(self._most, billed)
            else:
                # What cannot be settled stays put aside, which is never too little.
                with suppress(BackendError):
                    self._purse.settle(self._most, billed)
