"""What is shown: results on standard output, everything else on standard error; the only module that prints."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

import click

from undrift.cli.layout import number
from undrift.errors import NotConfirmed, UndriftError

#: Where a bar cannot be drawn, a line is written this often, in seconds.
LINE_EVERY_S = 5.0
#: What is over before that needs no line at all, in seconds.
PATIENCE_S = 2.0
#: A bar is drawn anew this often in a second.
_DRAWINGS_PER_S = 8
#: Lines of an export that are written in one go.
_LINES_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a progress bar shows at one moment.

    Attributes:
        label: what is going on.
        done: how much of it is done.
        total: of how much; None when that is not known.
        speed: how fast it goes, and how long that takes.
        facts: what else is known, in a few words.
        waiting: what it waits for; empty when it does not.
    """

    label: str
    done: int = 0
    total: int | None = None
    speed: str = ""
    facts: str = ""
    waiting: str = ""

    def line(self) -> str:
        """Write it as a line of text."""
        share = f" of {number(self.total)} ({self.done / self.total:.0%})" if self.total else ""
        done = f"{number(self.done)}{share}" if self.done or self.total else ""
        return _joined(self.label, done, self.speed, self.facts, f"waiting for {self.waiting}" if self.waiting else "")


def _joined(*parts: str) -> str:
    return " · ".join(part for part in parts if part)


class Meter(Protocol):
    """Something that shows readings as they come."""

    def show(self, reading: Reading) -> None:
        """Show how far it has come."""
        ...


class Screen:
    """The two streams of this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Write to the streams of this moment.

        Args:
            clock: seconds, for how often a line is written.
        """
        self._clock = clock

    def text(self, text: str) -> None:
        """Write a result for people."""
        if text:
            click.echo(_encodable(text, sys.stdout))

    def json(self, value: Any, *, indent: int | None = 2) -> None:
        """Write a result as one JSON document; without an indent, on one line."""
        click.echo(json.dumps(value, ensure_ascii=not _is_unicode(sys.stdout), indent=indent))

    def lines(self, lines: Iterable[str]) -> int:
        """Write JSON Lines, always in UTF-8; return how many there were."""
        stream = sys.stdout.buffer
        written = 0
        held: list[bytes] = []
        try:
            for line in lines:
                held.append(line.encode() + b"\n")
                written += 1
                if len(held) == _LINES_AT_ONCE:
                    stream.write(b"".join(held))
                    held = []
        finally:
            stream.write(b"".join(held))
            stream.flush()
        return written

    def note(self, text: str) -> None:
        """Tell something beside the result."""
        click.echo(_encodable(text, sys.stderr), err=True)

    def error(self, error: UndriftError, *, as_json: bool = False, kind: str = "") -> None:
        """Tell what went wrong and what mends it; `kind` is by default the error's own."""
        if as_json:
            fields = {"kind": kind or error.kind, "message": error.message, "detail": error.detail, "hint": error.hint}
            click.echo(json.dumps({"error": fields}, ensure_ascii=not _is_unicode(sys.stderr)), err=True)
        else:
            self.note(str(error))

    def traceback(self, error: BaseException) -> None:
        """Show where an error came from."""
        import traceback

        self.note("".join(traceback.format_exception(error)).rstrip())

    def at_once(self, text: str) -> None:
        """Tell something from a signal handler, which may have interrupted this very class."""
        os.write(2, f"{text}\n".encode())

    def confirm(self, verb: str, happening: str, hint: str) -> None:
        """Ask at the terminal whether to go on.

        Raises:
            NotConfirmed: the answer is not yes, or there is no terminal to ask at.
        """
        if not sys.stdin.isatty():
            raise NotConfirmed(f"{verb} was not confirmed; nothing has changed", f"it would {happening}", hint)
        self.note(f"{verb} would {happening}")
        click.echo("Go on? [y/N] ", nl=False, err=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise NotConfirmed(f"{verb} was not confirmed; nothing has changed", hint=hint)

    @contextmanager
    def meter(self) -> Iterator[Meter]:
        """Show progress for the length of a `with` block: a bar at a terminal, a line now and then elsewhere."""
        if sys.stderr.isatty():
            with _bar() as meter:
                yield meter
        else:
            yield _Lines(self.note, self._clock, patience_s=PATIENCE_S)

    def log(self) -> Meter:
        """Show progress as lines on standard error, wherever that goes."""
        return _Lines(self.note, self._clock)

    def ticker(self) -> Meter:
        """Show progress as lines that are the result."""
        return _Lines(self.text, self._clock)

    @contextmanager
    def live(self) -> Iterator[Callable[[str], None] | None]:
        """Show a result that replaces itself, which only a terminal can do; None elsewhere."""
        if not sys.stdout.isatty():
            yield None
            return
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        with Live(console=Console(highlight=False), refresh_per_second=_DRAWINGS_PER_S) as live:
            yield lambda text: live.update(Text(text))


class _Lines:
    """Writes a reading when its label changes, and otherwise every few seconds if it says something new."""

    def __init__(self, note: Callable[[str], None], clock: Callable[[], float], patience_s: float = 0.0) -> None:
        self._note = note
        self._clock = clock
        self._first = clock() + patience_s
        self._label = ""
        self._line = ""
        self._next = 0.0

    def show(self, reading: Reading) -> None:
        line, now = reading.line(), self._clock()
        if now < self._first or line == self._line or (reading.label == self._label and now < self._next):
            return
        self._label, self._line, self._next = reading.label, line, now + LINE_EVERY_S
        self._note(line)


@contextmanager
def _bar() -> Iterator[Meter]:
    """Draw a bar with the status line under it."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[speed]}", markup=False),
        console=console,
    )
    task = progress.add_task("", total=None, speed="")
    below = Text(style="dim")

    begun = threading.Event()

    class Bar:
        def show(self, reading: Reading) -> None:
            begun.set()
            share = f"{number(reading.done)}/{number(reading.total)}" if reading.total else number(reading.done)
            speed = _joined(share if reading.done or reading.total else "", reading.speed)
            progress.update(
                task, description=reading.label, completed=reading.done, total=reading.total or None, speed=speed
            )
            status = _joined(reading.facts, f"waiting for {reading.waiting}" if reading.waiting else "")
            below.plain = f"  {status}" if status else ""

    with Live(
        get_renderable=lambda: Group(
            *([progress.get_renderable()] if begun.is_set() else []), *([below] if below.plain else [])
        ),
        console=console,
        refresh_per_second=_DRAWINGS_PER_S,
        # What is written to standard output while it runs is a result, and goes where it was sent.
        redirect_stdout=False,
    ):
        yield Bar()


def _is_unicode(stream: TextIO) -> bool:
    return (stream.encoding or "ascii").lower().replace("-", "") in ("utf8", "utf8sig")


def _encodable(text: str, stream: TextIO) -> str:
    """Replace what a terminal that is not Unicode cannot show."""
    encoding = stream.encoding or "ascii"
    return text if _is_unicode(stream) else text.encode(encoding, "replace").decode(encoding)
