"""The processes of a demo: they are started, watched, killed when the story wants it, and never outlive it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from undrift.demo.history import ACKNOWLEDGED_MARK, RESTING_MARK
from undrift.demo.script import Role, Script
from undrift.errors import BackendError

#: How often the processes are looked at, in seconds.
LOOK_S = 0.02
#: How long an actor may take to do what is awaited, in seconds, on however slow a machine.
PATIENCE_S = 120.0
_TAIL_LINES = 15


@dataclass(slots=True, kw_only=True)
class _Player:
    """A process with a part, and how much of its history has been read."""

    script: Script
    process: subprocess.Popen[str]
    log: Path
    history: Path
    may_end: bool = False
    read: int = 0
    acknowledged: int = 0
    rests: int = 0
    torn: bytes = field(default=b"")

    def catch_up(self) -> None:
        """Count what was added to the history."""
        with suppress(FileNotFoundError), self.history.open("rb") as file:
            file.seek(self.read)
            added = file.read()
            self.read += len(added)
            # A mark may be cut in two by the reading.
            lines, _, self.torn = (self.torn + added).rpartition(b"\n")
            self.acknowledged += lines.count(ACKNOWLEDGED_MARK)
            self.rests += lines.count(RESTING_MARK)


class Stage:
    """All processes of a demo; leaving the `with` block ends every one of them."""

    def __init__(self, folder: Path) -> None:
        """Use a folder for parts, histories and what processes write on their way out."""
        self._folder = folder
        self._players: dict[str, _Player] = {}
        self.kills = 0
        for name in ("parts", "histories", "logs"):
            (folder / name).mkdir()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every process that still runs, at once."""
        for player in self._players.values():
            _kill(player.process)

    @property
    def histories(self) -> Path:
        """The folder of the histories."""
        return self._folder / "histories"

    def start(self, script: Script) -> None:
        """Start an actor in a process and a session of its own, so that a Ctrl-C reaches only whoever started it."""
        part = self._folder / "parts" / f"{script.name}.json"
        script.save(part)
        log = self._folder / "logs" / f"{script.name}.log"
        with log.open("wb") as written:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "undrift.demo.actors", str(part)],
                stdin=subprocess.PIPE,
                stdout=written,
                stderr=written,
                text=True,
                start_new_session=True,
            )
        self._players[script.name] = _Player(
            script=script, process=process, log=log, history=self.histories / f"{script.name}.jsonl"
        )

    def kill(self, name: str) -> None:
        """Kill a process in the middle of whatever it does (SIGKILL)."""
        player = self._players.pop(name)
        _kill(player.process)
        self.kills += 1

    def watch(self) -> None:
        """Pass when everybody plays.

        Raises:
            BackendError: a process ended by itself; its last words are in the detail.
        """
        for player in self._players.values():
            code = player.process.poll()
            if code is not None and not (player.may_end and code == 0):
                last = player.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
                raise BackendError(
                    f"{player.script.name} of the demo ended by itself with exit code {code}",
                    "\n".join(last) or "it left no message",
                    "undrift demo --keep DIR keeps everything that is needed to find out why",
                )

    def wait(self, until: Callable[[], bool], what: str, *, moving: Callable[[], object] = lambda: None) -> None:
        """Wait for something that the others do, and watch them meanwhile.

        Args:
            until: whether it is done.
            what: its name.
            moving: how far it is; patience begins anew whenever that changes.

        Raises:
            BackendError: it stood still for too long, or a process ended by itself.
        """
        place, end = moving(), time.monotonic() + PATIENCE_S
        while not until():
            self.watch()
            now = moving()
            if now != place:
                place, end = now, time.monotonic() + PATIENCE_S
            elif time.monotonic() > end:
                raise BackendError(
                    f"the demo waited {PATIENCE_S:.0f} s for {what}, in vain", hint="undrift demo --keep DIR"
                )
            time.sleep(LOOK_S)

    def traffic(self, operations: int) -> None:
        """Wait until every actor that is not at rest has had some more operations acknowledged."""
        players = [player for player in self._live() if player.script.role is not Role.WORKER]
        for player in players:
            player.catch_up()
        goals = {player.script.name: player.acknowledged + operations for player in players}

        def reached() -> bool:
            for player in players:
                player.catch_up()
            return all(player.acknowledged >= goals[player.script.name] for player in players)

        self.wait(reached, "live traffic")

    def rest(self, roles: Iterable[Role]) -> None:
        """Let actors end what they are at, and wait."""
        players = self._of(roles)
        for player in players:
            player.catch_up()
        before = {player.script.name: player.rests for player in players}
        self._order(players, "rest")

        def resting() -> bool:
            for player in players:
                player.catch_up()
            return all(player.rests > before[player.script.name] for player in players)

        self.wait(resting, "the writers to pause")

    def go_on(self, roles: Iterable[Role]) -> None:
        """Let actors that rest go on."""
        self._order(self._of(roles), "go")

    def stop(self, roles: Iterable[Role]) -> None:
        """Let actors end what they are at, and end."""
        players = self._of(roles)
        for player in players:
            player.may_end = True
        self._order(players, "stop")
        self.wait(lambda: all(player.process.poll() is not None for player in players), "actors to stop")
        self.watch()
        for player in players:
            _kill(self._players.pop(player.script.name).process)

    def _order(self, players: Iterable[_Player], order: str) -> None:
        for player in players:
            # One that has ended hears nothing; whoever waits for it finds out.
            with suppress(BrokenPipeError):
                pipe: IO[str] | None = player.process.stdin
                if pipe is not None:
                    pipe.write(f"{order}\n")
                    pipe.flush()

    def _live(self) -> list[_Player]:
        return list(self._players.values())

    def _of(self, roles: Iterable[Role]) -> list[_Player]:
        wanted = set(roles)
        return [player for player in self._live() if player.script.role in wanted]


def _kill(process: subprocess.Popen[str]) -> None:
    """End a process if it has not ended, and let go of it."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.close()
