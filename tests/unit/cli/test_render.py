"""What goes to which stream, and how."""

from __future__ import annotations

import io
import json
import sys

import pytest

from tests.unit.cli.running import Terminal
from undrift.cli.render import LINE_EVERY_S, PATIENCE_S, Meter, Reading, Screen
from undrift.errors import NotConfirmed, StoreUnavailable


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def latin(monkeypatch: pytest.MonkeyPatch, stream: str) -> io.BytesIO:
    written = io.BytesIO()
    monkeypatch.setattr(sys, stream, io.TextIOWrapper(written, encoding="latin-1", write_through=True))
    return written


def test_results_go_to_one_stream_and_everything_else_to_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()

    screen.text("a result")
    screen.json({"key": "wert ü"})
    screen.note("a note")
    screen.error(StoreUnavailable("store main did not answer", "timeout", "undrift doctor"))

    said = capsys.readouterr()
    assert said.out == 'a result\n{\n  "key": "wert ü"\n}\n'
    assert said.err == "a note\nstore main did not answer\nDetail: timeout\nHint: undrift doctor\n"


def test_json_is_json_whatever_the_terminal_can_show(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = latin(monkeypatch, "stdout"), latin(monkeypatch, "stderr")

    Screen().json({"text": "日本"}, indent=None)
    Screen().error(StoreUnavailable("日本"), as_json=True)

    assert json.loads(out.getvalue()) == {"text": "日本"}
    assert json.loads(err.getvalue())["error"]["message"] == "日本"


def test_what_a_terminal_cannot_show_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    out = latin(monkeypatch, "stdout")

    Screen().text("日本 ü")

    assert out.getvalue().decode("latin-1") == "?? ü\n"


def test_json_lines_are_utf_8_whatever_the_terminal_can_show(monkeypatch: pytest.MonkeyPatch) -> None:
    out = latin(monkeypatch, "stdout")

    assert Screen().lines(f'{{"id": "日{number}"}}' for number in range(1200)) == 1200

    lines = out.getvalue().decode("utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines] == [f"日{number}" for number in range(1200)]


def test_lines_that_were_made_before_a_failure_are_written(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    def failing() -> object:
        yield "1"
        raise StoreUnavailable("store main did not answer")

    with pytest.raises(StoreUnavailable):
        Screen().lines(failing())  # type: ignore[arg-type]
    assert capsysbinary.readouterr().out == b"1\n"


def test_nobody_is_asked_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))

    with pytest.raises(NotConfirmed) as refused:
        Screen().confirm("cutover of kb", "make b serve", "undrift cutover kb --yes")
    assert refused.value.detail == "it would make b serve"
    assert refused.value.hint == "undrift cutover kb --yes"


@pytest.mark.parametrize("answer", ["y\n", "YES\n", " yes \n"])
def test_yes_goes_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))

    Screen().confirm("cutover of kb", "make b serve", "")

    said = capsys.readouterr()
    assert said.out == ""
    assert "cutover of kb would make b serve" in said.err


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "yesterday\n"])
def test_everything_but_yes_is_no(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))

    with pytest.raises(NotConfirmed):
        Screen().confirm("cutover of kb", "make b serve", "")


def test_a_reading_is_one_line_of_what_is_known() -> None:
    assert Reading(label="kb: backfill").line() == "kb: backfill"
    full = Reading(label="kb: backfill", done=500, total=2000, speed="10 a second", facts="3 dirty", waiting="a worker")
    assert full.line() == "kb: backfill · 500 of 2,000 (25%) · 10 a second · 3 dirty · waiting for a worker"
    assert Reading(label="kb: writing", done=500).line() == "kb: writing · 500"


def shown(meter: Meter, *readings: tuple[str, int]) -> None:
    for label, done in readings:
        meter.show(Reading(label=label, done=done))


def test_lines_come_now_and_then_and_with_every_new_label(capsys: pytest.CaptureFixture[str]) -> None:
    time = Time()
    meter = Screen(time).log()

    shown(meter, ("one", 1), ("one", 2), ("two", 2), ("two", 3))
    time.now += LINE_EVERY_S
    shown(meter, ("two", 4), ("two", 5))
    time.now += LINE_EVERY_S
    shown(meter, ("two", 4))

    assert capsys.readouterr().err.splitlines() == ["one · 1", "two · 2", "two · 4"]


def test_what_is_over_soon_needs_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    time = Time()
    with Screen(time).meter() as meter:
        shown(meter, ("one", 1), ("two", 2))
        time.now += PATIENCE_S
        shown(meter, ("two", 3))

    assert capsys.readouterr().err == "two · 3\n"


def test_a_ticker_is_a_result(capsys: pytest.CaptureFixture[str]) -> None:
    shown(Screen().ticker(), ("one", 1))

    assert capsys.readouterr().out == "one · 1\n"


def test_a_terminal_gets_a_bar_with_a_status_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")

    screen = Screen()
    with screen.meter() as meter:
        meter.show(Reading(label="kb: [backfill]", done=500, total=2000, speed="10 a second", waiting="a [worker]"))
        screen.note("a note between")

    drawn = terminal.getvalue()
    assert all(part in drawn for part in ("kb: [backfill]", "500/2,000 · 10 a second", "waiting for a [worker]"))
    assert "a note between" in drawn
    assert capsys.readouterr().out == ""


def test_only_a_terminal_can_replace_what_it_shows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Screen().live() as replace:
        assert replace is None
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")

    with Screen().live() as replace:
        assert replace is not None
        replace("kb [b]· ready")
    assert "kb [b]· ready" in terminal.getvalue()
