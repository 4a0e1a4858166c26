"""What goes on in other processes while something is measured."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import Any

from benchmarks.scene import ALIAS, Scene
from undrift.domain.migration import Migration, Phase

#: Every process begins with nothing of its parent's memory.
_SPAWN = multiprocessing.get_context("spawn")
_PATIENCE_S = 120.0


@contextmanager
def migrating(scene: Scene, model: str = "new") -> Iterator[None]:
    """Let a worker process migrate to a model, give the migration up when it is ready, and begin again."""
    stop = _SPAWN.Event()
    process = _SPAWN.Process(target=_migrate, args=(scene, model, stop), daemon=True)
    process.start()
    try:
        yield
    finally:
        stop.set()
        process.join(_PATIENCE_S)
        if process.exitcode != 0:
            process.kill()
            raise ChildProcessError(f"the worker process ended with {process.exitcode}")


def _migrate(scene: Scene, model: str, stop: Event) -> None:
    def over(migration: Migration | None) -> bool:
        return stop.is_set() or migration is None or migration.phase is Phase.READY

    with scene.open() as plane:
        while not stop.is_set():
            plane.register(ALIAS, model)
            plane.work(ALIAS, over)
            plane.cancel(ALIAS, drop=True)


class Crew:
    """Some processes that do what they are told at the same time."""

    def __init__(self, count: int, run: Callable[..., None], *arguments: Any) -> None:
        """Start processes; each calls `run(connection, number, *arguments)`, which answers what it receives."""
        self._connections: list[Connection] = []
        self._processes = []
        for number in range(count):
            ours, theirs = _SPAWN.Pipe()
            process = _SPAWN.Process(target=run, args=(theirs, number, *arguments), daemon=True)
            process.start()
            theirs.close()
            self._connections.append(ours)
            self._processes.append(process)

    def ask(self, order: Any) -> list[Any]:
        """Send everybody the same order and return what they answer.

        Raises:
            EOFError: one of them has died.
        """
        for connection in self._connections:
            connection.send(order)
        return [connection.recv() for connection in self._connections]

    def dismiss(self) -> None:
        """Send everybody home."""
        for connection in self._connections:
            connection.send(None)
        for process in self._processes:
            process.join(_PATIENCE_S)

    def __enter__(self) -> Crew:
        """Use it as a context, which dismisses it."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Dismiss it, or end it when something went wrong."""
        if kind is None:
            self.dismiss()
        for process in self._processes:
            process.kill()


def orders(connection: Connection) -> Iterator[Any]:
    """Yield what a member of a crew is told, until it is sent home."""
    while (order := connection.recv()) is not None:
        yield order


def alone(run: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns in a process of its own, which has nothing else in its memory."""
    with Crew(1, _answer, run, arguments) as crew:
        (answer,) = crew.ask("go")
    return answer


def _answer(connection: Connection, _: int, run: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    for _order in orders(connection):
        connection.send(run(*arguments))
