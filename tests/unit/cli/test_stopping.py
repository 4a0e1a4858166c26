"""Being asked to stop, by real signals in this process."""

from __future__ import annotations

import signal
import threading

import pytest

from undrift.cli.stopping import Stop, WakingClock

SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)


@SIGNALS
def test_the_first_signal_asks_and_the_second_insists(number: signal.Signals) -> None:
    told: list[str] = []
    with Stop(lambda: told.append("asked")) as stop:
        assert not stop.requested()
        signal.raise_signal(number)
        assert stop.requested()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)

    assert told == ["asked"]


@SIGNALS
def test_afterwards_signals_are_handled_as_before(number: signal.Signals) -> None:
    before = signal.getsignal(number)

    with Stop(lambda: None):
        assert signal.getsignal(number) is not before

    assert signal.getsignal(number) is before


def test_another_thread_than_the_main_one_catches_nothing() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def use() -> None:
        with Stop(lambda: None):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()

    assert seen == [before]


def test_a_sleeper_wakes_when_the_process_is_asked_to_stop() -> None:
    with Stop(lambda: None) as stop:
        clock = WakingClock(stop)
        timer = threading.Timer(0.01, signal.raise_signal, [signal.SIGTERM])
        timer.start()

        with pytest.raises(KeyboardInterrupt):
            clock.sleep(3600)
        timer.join()


def test_nobody_wakes_who_is_not_asked() -> None:
    with Stop(lambda: None) as stop:
        clock = WakingClock(stop)
        began = clock.monotonic()
        clock.sleep(0.01)

        assert clock.monotonic() - began >= 0.01
        stop.check()


def end_as(number: signal.Signals) -> None:
    with Stop(lambda: None) as stop, stop.as_signalled():
        signal.raise_signal(number)
        stop.check()


def test_a_block_ends_as_the_signal_would_have_ended_it() -> None:
    with pytest.raises(KeyboardInterrupt):
        end_as(signal.SIGINT)
    with pytest.raises(SystemExit) as ended:
        end_as(signal.SIGTERM)
    assert ended.value.code == 143
