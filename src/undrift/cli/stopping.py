"""Being asked to stop: the piece of work in hand is finished, and whoever sleeps wakes up."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

from undrift.adapters.clock import SystemClock

#: A sleeper looks this often whether it is to wake, in seconds.
_SLICE_S = 0.1


class Stop:
    """Turns the first SIGINT or SIGTERM into a request, and the second into a KeyboardInterrupt.

    Signals can be caught in the main thread only; elsewhere nothing changes, and nobody asks to stop.
    """

    def __init__(self, on_request: Callable[[], None]) -> None:
        """Catch nothing yet.

        Args:
            on_request: called from the handler of the first signal.
        """
        self._on_request = on_request
        self._before: dict[int, Any] = {}
        #: The signal that asked, 0 as long as none did.
        self.signal = 0

    def __enter__(self) -> Self:
        """Catch both signals."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Handle them as before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def requested(self) -> bool:
        """Whether this process was asked to stop."""
        return bool(self.signal)

    def check(self) -> None:
        """Pass unless this process was asked to stop; for places where nothing is in hand.

        Raises:
            KeyboardInterrupt: it was.
        """
        if self.signal:
            raise KeyboardInterrupt

    @contextmanager
    def as_signalled(self) -> Iterator[None]:
        """End a `with` block as the signal would have ended it, after what is inside has cleaned up.

        Raises:
            KeyboardInterrupt: it was asked to stop by SIGINT.
            SystemExit: it was asked to stop by SIGTERM.
        """
        try:
            yield
        except KeyboardInterrupt:
            if self.signal == signal.SIGTERM:
                raise SystemExit(128 + signal.SIGTERM) from None
            raise

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number
        self._on_request()


class WakingClock(SystemClock):
    """The machine's clock, whose sleepers wake by a KeyboardInterrupt when the process is asked to stop."""

    def __init__(self, stop: Stop) -> None:
        """Wake for this request."""
        super().__init__()
        self._stop = stop

    def sleep(self, seconds: float) -> None:
        """Wait, unless and until the process is asked to stop."""
        until = self.monotonic() + seconds
        while (left := until - self.monotonic()) > 0:
            self._stop.check()
            time.sleep(min(left, _SLICE_S))
