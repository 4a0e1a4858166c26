"""Who does what to whom, and when: chosen by a seed."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.torture.stage import Stage

#: Whoever is to die at a named point and has not come by it for so long dies anywhere, in seconds.
_POINT_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrath:
    """How hard it is.

    Attributes:
        kills_per_s: kills from outside, beside those at named points.
        failpoints: the share of lives that are to end, or to stand still, at a named point.
        pace_s: mean time between two acts of another kind.
        seconds: after so long it rests, and what is not over has to come to its end.
        kills: it rests only after so many, also when the story is over before.
        most_kills: it kills nobody any more after so many.
    """

    kills_per_s: float = 6.0
    failpoints: float = 0.85
    pace_s: float = 0.7
    seconds: float = 60.0
    kills: int = 0
    most_kills: int = 1_000_000


class Nemesis:
    """Disturbs a stage until it is told to rest."""

    def __init__(self, stage: Stage, chance: random.Random, wrath: Wrath) -> None:
        self._stage, self._chance, self._wrath = stage, chance, wrath
        self._world = stage.world
        now = time.monotonic()
        self._next_kill = now + 0.2
        self._next_act = now + 0.3
        self._undo: list[tuple[float, Callable[[], None]]] = []
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []
        self._acts: list[tuple[Callable[[], None], float]] = [
            (self._stop_shortly, 4),
            (self._stop_long, 1.5),
            (self._fill_disk, 2),
        ]
        if self._world.proxy is not None:
            self._acts += [(self._cut, 3), (self._delay, 2), (self._half_open, 1), (self._refuse, 1)]
            self._acts += [(self._restart_server, 0.4), (self._crash_server, 0.6)]

    def act(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        if self._stage.figures["kills"] >= self._wrath.most_kills:
            self._stage.failpoints = 0.0
        elif now >= self._next_kill:
            self._next_kill = now + self._chance.expovariate(self._wrath.kills_per_s)
            self._kill()
        if now >= self._next_act:
            self._next_act = now + self._chance.expovariate(1 / self._wrath.pace_s)
            acts, weights = zip(*self._acts, strict=True)
            self._chance.choices(acts, weights=weights)[0]()
        for due, undo in list(self._undo):
            if now >= due:
                self._undo.remove((due, undo))
                undo()
        if self._errors:
            raise self._errors[0]

    def rest(self) -> None:
        """Undo whatever can be undone, and do nothing any more."""
        for _, undo in self._undo:
            undo()
        self._undo.clear()
        for thread in self._threads:
            thread.join()
        if self._world.proxy is not None:
            self._world.proxy.heal()
        self._stage.let_go_on()
        if self._errors:
            raise self._errors[0]

    def _victim(self) -> str | None:
        names = [name for name, life in self._stage.living.items() if life.pid and not life.asked_to_end]
        return self._chance.choice(names) if names else None

    def _kill(self) -> None:
        """Kill somebody who has done something: whoever dies at birth proves little, and on a busy machine all would.

        Whoever has a point to die at is given time to get there.
        """
        name = self._victim()
        if name is None:
            return
        life = self._stage.living[name]
        age_s = time.monotonic() - life.began
        if self._chance.random() < 0.1 or (
            self._stage.has_acted(life) and (life.script.get("failpoint") is None or age_s > _POINT_S)
        ):
            self._stage.kill(name, "at random")

    def _stop_shortly(self) -> None:
        name = self._victim()
        if name is not None:
            self._stage.stop(name, self._stage.stop_s(long=False), long=False)

    def _stop_long(self) -> None:
        name = self._victim()
        if name is not None:
            self._stage.stop(name, self._stage.stop_s(long=True), long=True)

    def _fill_disk(self) -> None:
        """Let no file of some actors, or of all, grow beyond about what it is, for a moment."""
        sizes = [path.stat().st_size for path in self._world.data_files()]
        size = max(65_536, int(max(sizes, default=0) * self._chance.uniform(0.2, 1.0)))
        names = [name for name, life in self._stage.living.items() if life.pid]
        if self._chance.random() < 0.7 and names:
            names = [self._chance.choice(names)]
        pids = [self._stage.living[name].pid for name in names]
        for pid in pids:
            self._stage.nursery.limit_files(pid, size)
        self._stage.figures["disks full"] += 1

        def undo() -> None:
            for pid in pids:
                self._stage.nursery.limit_files(pid, None)

        self._later(self._chance.uniform(0.05, 0.5), undo)

    def _cut(self) -> None:
        assert self._world.proxy is not None
        before = self._world.proxy.cut_count
        self._world.proxy.cut()
        self._stage.figures["connections cut"] += self._world.proxy.cut_count - before

    def _delay(self) -> None:
        assert self._world.proxy is not None
        self._world.proxy.delay(self._chance.uniform(0.005, 0.1))
        self._stage.figures["delays of the network"] += 1
        self._later(self._chance.uniform(0.2, 1.0), self._heal)

    def _half_open(self) -> None:
        assert self._world.proxy is not None
        self._world.proxy.half_open()
        self._stage.figures["half-open connections, times"] += 1
        self._later(self._chance.uniform(0.1, 1.5), self._heal)

    def _refuse(self) -> None:
        assert self._world.proxy is not None
        self._world.proxy.refuse()
        self._stage.figures["server out of reach, times"] += 1
        self._later(self._chance.uniform(0.1, 1.0), self._heal)

    def _heal(self) -> None:
        assert self._world.proxy is not None
        self._world.proxy.heal()

    def _restart_server(self) -> None:
        self._in_background(self._world.restart_server, "server restarts")

    def _crash_server(self) -> None:
        self._in_background(self._world.crash_server, "server kills")

    def _in_background(self, work: Callable[[], None], figure: str) -> None:
        if any(thread.is_alive() for thread in self._threads):
            return

        def guarded() -> None:
            try:
                work()
            except BaseException as error:
                self._errors.append(error)

        self._stage.figures[figure] += 1
        self._threads = [threading.Thread(target=guarded, name="server", daemon=True)]
        self._threads[0].start()

    def _later(self, seconds: float, undo: Callable[[], None]) -> None:
        self._undo.append((time.monotonic() + seconds, undo))
