"""The actors of one world while they live, and those who take their places when they die."""

from __future__ import annotations

import os
import queue
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.torture.failing import FAILPOINTS, POINTS_OF, SENDING, SENDING_JOURNALED, Status
from tests.torture.nursery import Nursery
from tests.torture.worlds import BUSY_S, WRITE_S, World

LOOK_S = 0.01
#: How long an actor that is asked to end may take, in seconds.
END_S = 120.0


@dataclass(slots=True, kw_only=True)
class Life:
    """One life of an actor.

    Attributes:
        name: the actor.
        script: what it was started with.
        pid: its process; 0 until it has one.
        began: when it was started.
        stopped_by_us: whether it was told to stand still.
        still: whether it stands still.
        until: when it is to go on.
        long: whether it is to stand still beyond every lease and horizon.
        spared: the low byte of its count of calls before which it may not be killed, None when it may.
        killed_by_us: why it was killed.
    """

    name: str
    script: dict[str, Any]
    pid: int = 0
    began: float = field(default_factory=time.monotonic)
    still: bool = False
    until: float | None = None
    long: bool = False
    spared: int | None = None
    killed_by_us: str = ""
    asked_to_end: bool = False


class Stage:
    """Starts actors, and takes note of how they end."""

    def __init__(self, world: World, nursery: Nursery, chance: random.Random, *, failpoints: float = 0.0) -> None:
        """Begin with nobody.

        Args:
            world: the collection.
            nursery: who starts processes.
            chance: chooses seeds, failpoints and jumps of the clock.
            failpoints: the share of lives that are to end at a named point.
        """
        self.world, self.nursery, self.chance = world, nursery, chance
        self.failpoints = failpoints
        self.figures: Counter[str] = Counter()
        self.violations: list[str] = []
        self.cast: dict[str, dict[str, Any]] = {}
        self.living: dict[str, Life] = {}
        self.finished: set[str] = set()
        self._by_pid: dict[int, Life] = {}
        self._lives: Counter[str] = Counter()

    # Beginning and ending

    def start(self, name: str, *, calm: bool = False, **script: Any) -> Life:
        """Start an actor's next life."""
        self.cast[name] = script
        self._lives[name] += 1
        Status.prepare(self.world.folder / "status" / name)
        whole = {
            **script,
            "folder": str(self.world.folder),
            "life": self._lives[name],
            "seed": self.chance.randrange(2**31),
            "busy_s": BUSY_S,
            "write_s": WRITE_S,
        }
        if not calm:
            whole["jumps"] = self.chance.random() < 0.2
            whole["failpoint"] = self._failpoint(script["role"])
            if whole["jumps"]:
                self.figures["lives with a jumping clock"] += 1
        life = self.living[name] = Life(name=name, script=whole)
        self.figures[f"lives of {script['role']}s"] += 1
        self.nursery.start(name, whole)
        return life

    def end(self, names: list[str]) -> None:
        """Ask actors to end, and wait; one that does not is a violation, and is killed."""
        waiting = {name for name in names if name in self.living}
        for name in waiting:
            self.living[name].asked_to_end = True
        end = time.monotonic() + END_S
        asked: set[int] = set()
        while waiting:
            for name in list(waiting):
                life = self.living.get(name)
                if life is None:
                    waiting.discard(name)
                elif life.pid and life.pid not in asked:
                    asked.add(life.pid)
                    self.nursery.signal(life.pid, signal.SIGTERM)
            self.attend(respawn=False)
            if time.monotonic() > end:
                for name in sorted(waiting):
                    self.violations.append(f"{name} was asked to end and did not within {END_S:.0f} s")
                    self.nursery.signal(self.living[name].pid, signal.SIGKILL)
                end += 5.0
            time.sleep(LOOK_S)
        for name in names:
            self.cast.pop(name, None)

    def wait(self, until: Callable[[], bool], seconds: float, *, respawn: bool) -> bool:
        """Attend until something holds; False when the time is over before."""
        end = time.monotonic() + seconds
        while not until():
            if time.monotonic() > end:
                return False
            self.attend(respawn=respawn)
            time.sleep(LOOK_S)
        return True

    # What is done to them

    def kill(self, name: str, why: str) -> bool:
        """Kill an actor as `kill -9` does, unless it is spared; whether it was."""
        life = self.living.get(name)
        if life is None or not life.pid or life.killed_by_us or self._is_spared(life):
            return False
        life.killed_by_us = why
        self.nursery.signal(life.pid, signal.SIGKILL)
        return True

    def stop(self, name: str, seconds: float, *, long: bool) -> bool:
        """Let an actor stand still for a while."""
        life = self.living.get(name)
        if life is None or not life.pid or life.killed_by_us or life.until is not None or self._is_spared(life):
            return False
        life.until, life.long = time.monotonic() + seconds, long
        self.nursery.signal(life.pid, signal.SIGSTOP)
        return True

    def has_acted(self, life: Life) -> bool:
        """Whether an actor has done something in this life."""
        return bool(life.pid) and self._read_status(life)[1] != 0

    def let_go_on(self) -> None:
        """Let everybody go on who stands still."""
        for life in self.living.values():
            if life.still:
                self._go_on(life)

    def attend(self, *, respawn: bool = True) -> None:
        """Take note of what happened, let those go on whose time has come, and fill the places of the dead."""
        while True:
            try:
                event = self.nursery.events.get_nowait()
            except queue.Empty:
                break
            match event.what:
                case "started":
                    life = self.living.get(event.name)
                    if life is not None:
                        life.pid = event.pid
                        self._by_pid[event.pid] = life
                case "stopped":
                    self._stands_still(self._by_pid.get(event.pid))
                case "ended":
                    self._ended(self._by_pid.pop(event.pid, None), event.pid, event.status, respawn=respawn)
                case _:
                    raise RuntimeError("the nursery is gone")
        now = time.monotonic()
        for life in list(self.living.values()):
            if life.still and life.until is not None and now >= life.until:
                self._go_on(life)

    def _stands_still(self, life: Life | None) -> None:
        if life is None or life.killed_by_us:
            return
        life.still = True
        if life.until is None:
            # By itself, at a point that it was given.
            point = self._point_of(life.pid) or "?"
            life.long = self.chance.random() < 0.5
            life.until = time.monotonic() + self.stop_s(long=life.long)
            self.figures[f"stops at {point}"] += 1
        doing, count = self._read_status(life)
        if life.long and doing == SENDING:
            # It has looked at the clock and is about to send: no store can take back what lands beyond the horizon.
            life.long, life.until = False, time.monotonic()
        elif life.long and doing == SENDING_JOURNALED:
            life.spared = count
        self.figures["stops beyond lease and horizon" if life.long else "short stops"] += 1

    def stop_s(self, *, long: bool) -> float:
        """Choose how long somebody stands still."""
        return self.world.kind.long_s * self.chance.uniform(1.0, 1.3) if long else self.chance.uniform(0.02, 0.6)

    def _go_on(self, life: Life) -> None:
        life.still, life.until, life.long = False, None, False
        self.nursery.signal(life.pid, signal.SIGCONT)

    def _is_spared(self, life: Life) -> bool:
        """Whether it stood still in a send for so long that only itself can take it back, and has not done so yet."""
        if life.spared is None:
            return False
        if not life.still and self._read_status(life)[1] != life.spared:
            life.spared = None
            return False
        return True

    def _ended(self, life: Life | None, pid: int, status: int, *, respawn: bool) -> None:
        if life is None:
            return
        point = self._point_of(pid)
        if self.living.get(life.name) is life:
            del self.living[life.name]
        role = life.script["role"]
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            how = life.killed_by_us or (f"at {point}" if point else "")
            if not how:
                self.violations.append(f"{life.name} was killed by somebody else")
            self.figures["kills"] += 1
            self.figures[f"kills {how}"] += 1
            self.figures[f"kills of {role}s"] += 1
        elif os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
            self.finished.add(life.name)
            if role != "coordinator" and role not in ("loader", "auditor") and not life.asked_to_end:
                self.violations.append(f"{life.name} ended by itself")
            if not life.asked_to_end:
                return
        elif not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGTERM):
            self.violations.append(f"{life.name} crashed: {self._error_of(life.name, pid)}")
        if respawn and not life.asked_to_end and life.name in self.cast:
            self.start(life.name, **self.cast[life.name])

    def _failpoint(self, role: str) -> dict[str, Any] | None:
        # A worker or an operator has more to do in one life than a writer, and is to get there now and then.
        share = self.failpoints if role in ("writer", "searcher") else self.failpoints * 0.8
        if self.chance.random() > share:
            return None
        name = self.chance.choice(POINTS_OF[role])
        calls, side = FAILPOINTS[name]
        kill = side == "during" or self.chance.random() < 0.85
        often = bool(calls & {"ledger.claim", "ledger.reap"}) or role in ("writer", "searcher")
        return {
            "name": name,
            "skip": 0 if name == "after_join" else self.chance.randrange(6 if often else 2),
            "number": int(signal.SIGKILL if kill else signal.SIGSTOP),
            "delay_s": self.chance.expovariate(1 / 0.002) if side == "during" else 0.0,
        }

    def _point_of(self, pid: int) -> str:
        path = self.world.folder / "points" / str(pid)
        try:
            point = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""
        path.unlink()
        return point

    def _read_status(self, life: Life) -> tuple[int, int]:
        data = (self.world.folder / "status" / life.name).read_bytes()
        return data[0], data[1]

    def _error_of(self, name: str, pid: int) -> str:
        path: Path = self.world.folder / "errors" / f"{name}-{pid}"
        return path.read_text(encoding="utf-8") if path.exists() else "no word of why"
