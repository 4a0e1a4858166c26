"""Tasks of which exactly one runs at a time, in virtual time; who goes on is decided by when each wants to."""

from __future__ import annotations

import heapq
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

from undrift.testing.faults import Killed

#: Where virtual time begins, in seconds.
START = 1000.0
#: After so long without any change a simulation stands still, in seconds of the wall clock.
STANDS_STILL_S = 60.0
#: Of a task that stands still, so many calls are told.
_CALLS = 8


@dataclass(slots=True, kw_only=True, eq=False)
class Life:
    """What the tasks of one simulated process have in common.

    Attributes:
        name: the process, as the trace has it.
        dead: whether it was killed; each of its tasks ends where it is.
        shielded: how many of its tasks nothing may happen to.
        paused_until: it does nothing before, as after SIGSTOP.
        lease_until: until when, and the fence horizon, something may land that it sent under its lease.
    """

    name: str
    dead: bool = False
    shielded: int = 0
    paused_until: float = 0.0
    lease_until: float = 0.0


@dataclass(slots=True, kw_only=True, eq=False)
class Task:
    """One line of execution, on a thread of its own.

    Attributes:
        life: the process it belongs to.
        work_until: until when, and the fence horizon, something may land that it sent for the work in hand.
        opened_field: where the write that it has opened has to go; empty while none is open.
        operation: what it does at present, for whoever keeps the history.
        shielded: whether nothing may happen to it until it has closed its write.
        ended: whether it is over.
    """

    life: Life
    hand: _Hand
    work_until: float = 0.0
    opened_field: str = ""
    operation: object = None
    shielded: bool = False
    ended: bool = False


class _Hand(threading.Thread):
    """A thread that does one task after another."""

    def __init__(self) -> None:
        super().__init__(name="undrift-simulation", daemon=True)
        self.baton = threading.Lock()
        self.baton.acquire()
        self.work: Callable[[], None] | None = None

    def run(self) -> None:
        while True:
            self.baton.acquire()
            if self.work is None:
                return
            self.work()


@dataclass(slots=True, eq=False)
class Hands:
    """Threads that are kept from one simulation to the next, because making them costs more than switching."""

    idle: list[_Hand] = field(default_factory=list)

    def take(self) -> _Hand:
        """Return a thread that has nothing to do."""
        if self.idle:
            return self.idle.pop()
        hand = _Hand()
        hand.start()
        return hand

    def close(self) -> None:
        """Let every thread end."""
        for hand in self.idle:
            hand.work = None
            hand.baton.release()
        self.idle.clear()


class Scheduler:
    """Runs tasks and events in the order of their times.

    Whoever waits looks himself for who is next and hands over, so that a task which goes on at once costs no switch.

    Attributes:
        now: the virtual time, in seconds.
        current: the task that runs; None while the caller of `run` does.
        stopped: set to end `run` at the next wait.
        error: what an event or a task raised that nothing may raise.
    """

    def __init__(self, hands: Hands) -> None:
        """Begin with nothing to do."""
        self.now = START
        self.current: Task | None = None
        self.stopped = False
        self.error: BaseException | None = None
        self._hands = hands
        self._limit = START
        self._queue: list[tuple[float, int, Task | Callable[[], None]]] = []
        self._count = 0
        self._tasks: list[Task] = []
        self._caller = threading.Lock()
        self._caller.acquire()

    def spawn(self, life: Life, body: Callable[[], None], *, after: float = 0.0) -> Task:
        """Let a process do something beside what it does already."""
        hand = self._hands.take()
        task = Task(life=life, hand=hand)
        hand.work = lambda: self._perform(task, body)
        self._tasks.append(task)
        self._push(self.now + after, task)
        return task

    def at(self, time: float, event: Callable[[], None]) -> None:
        """Let something happen at a time; it may not wait."""
        self._push(time, event)

    def sleep(self, seconds: float) -> None:
        """Let the running task wait, and others go on.

        Raises:
            Killed: its process is dead.
        """
        task = self.current
        if task is None:
            raise RuntimeError("only a task can wait")
        if task.life.dead:
            raise Killed(f"{task.life.name} is dead")
        self._push(self.now + seconds, task)
        following = self._next()
        if following is not task:
            self._hand_over(following)
            task.hand.baton.acquire()
            self.current = task
        if task.life.dead:
            raise Killed(f"{task.life.name} is dead")

    def run(self, until: float) -> None:
        """Let everything happen up to a time, or until something stops it.

        Raises:
            RuntimeError: a task waits for what another one holds that cannot go on before it, such as a lock.
        """
        self._limit = until
        following = self._next()
        if following is not None:
            self._hand_over(following)
            before = -1
            while not self._caller.acquire(timeout=STANDS_STILL_S):
                if self._count == before:
                    raise RuntimeError(f"the simulation stands still at {self.now:g} s:\n{self._stacks()}")
                before = self._count
            self.current = None
        if not self.stopped:
            self.now = max(self.now, until)

    def end(self) -> None:
        """Kill whoever is left, so that the threads can be used again."""
        self._queue.clear()
        self.stopped = False
        for task in self._tasks:
            task.life.dead = True
            if not task.ended:
                self._push(self.now, task)
        error = self.error
        self.run(self.now)
        self.error = error

    def _stacks(self) -> str:
        """Return where every task is that has not ended."""
        frames = sys._current_frames()  # noqa: SLF001 - there is no other way to see what another thread does
        found = []
        for task in self._tasks:
            frame = frames.get(task.hand.ident or 0)
            if not task.ended and frame is not None:
                found.append(f"{task.life.name}:\n{''.join(traceback.format_stack(frame)[-_CALLS:])}")
        return "\n".join(found)

    def _perform(self, task: Task, body: Callable[[], None]) -> None:
        self.current = task
        try:
            if not task.life.dead:
                body()
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again by whoever called `run`
            if self.error is None:
                self.error = error
            self.stopped = True
        task.ended = True
        following = self._next()
        self._hands.idle.append(task.hand)
        self._hand_over(following)

    def _push(self, time: float, what: Task | Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (time, self._count, what))

    def _next(self) -> Task | None:
        """Let events happen until a task has to go on, or nothing has to."""
        while not self.stopped and self._queue and self._queue[0][0] <= self._limit:
            time, _, what = heapq.heappop(self._queue)
            if isinstance(what, Task):
                if what.life.paused_until > time and not what.life.dead:
                    self._push(what.life.paused_until, what)
                    continue
                self.now = max(self.now, time)
                return what
            self.now = max(self.now, time)
            try:
                what()
            except BaseException as error:  # noqa: BLE001 - raised again by whoever called `run`
                self.error = error
                self.stopped = True
        return None

    def _hand_over(self, task: Task | None) -> None:
        (self._caller if task is None else task.hand.baton).release()
