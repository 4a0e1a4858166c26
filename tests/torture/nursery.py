"""A process that has everything imported and forks actors on demand, so that another one costs milliseconds.

`python -m tests.torture.nursery` reads one order a line and tells one event a line, both JSON. It is the parent of all
actors, and alone sends them signals: a process that it has not waited for keeps its number.
"""

from __future__ import annotations

import gc
import json
import os
import queue
import resource
import select
import signal
import subprocess
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened to an actor: `started`, `stopped` (by itself), or `ended` with a wait status."""

    what: str
    pid: int
    name: str = ""
    status: int = 0


@dataclass(slots=True)
class Nursery:
    """The side of whoever gives the orders; events come in the order in which they happened."""

    events: queue.SimpleQueue[Event] = field(default_factory=queue.SimpleQueue)
    _process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Nursery:
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        paths = [str(ROOT), str(ROOT / "src"), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=ROOT,
        )
        threading.Thread(target=self._listen, name="nursery", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def start(self, name: str, script: dict[str, Any]) -> None:
        self._order(order="start", name=name, script=script)

    def signal(self, pid: int, number: int) -> None:
        self._order(order="signal", pid=pid, number=number)

    def limit_files(self, pid: int, size: int | None) -> None:
        """Let no file of an actor grow beyond a size; None lifts that."""
        self._order(order="limit", pid=pid, size=size)

    def _order(self, **order: Any) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def _listen(self) -> None:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        with suppress(ValueError):
            for line in process.stdout:
                self.events.put(Event(**json.loads(line)))
        self.events.put(Event(what="gone", pid=0))


def serve() -> None:
    """Fork, send signals and bury until the input ends; then kill everybody."""
    from tests.torture import actors

    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    gc.collect()
    gc.freeze()
    living: set[int] = set()
    heard = b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _tell_changes(living)
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                break
            *orders, heard = (heard + data).split(b"\n")
            for order in orders:
                _obey(json.loads(order), living, actors)
    for pid in living:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _obey(order: dict[str, Any], living: set[int], actors: Any) -> None:
    match order["order"]:
        case "start":
            pid = os.fork()
            if pid == 0:
                _live(order["name"], order["script"], actors)
            living.add(pid)
            _tell(what="started", pid=pid, name=order["name"])
        case "signal" if order["pid"] in living:
            with suppress(ProcessLookupError):
                os.kill(order["pid"], order["number"])
        case "limit" if order["pid"] in living:
            hard = resource.RLIM_INFINITY
            with suppress(ProcessLookupError):
                soft = hard if order["size"] is None else order["size"]
                resource.prlimit(order["pid"], resource.RLIMIT_FSIZE, (soft, hard))


def _tell_changes(living: set[int]) -> None:
    while living:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if os.WIFSTOPPED(status):
            _tell(what="stopped", pid=pid)
        else:
            living.discard(pid)
            _tell(what="ended", pid=pid, status=status)


def _tell(**event: Any) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def _live(name: str, script: dict[str, Any], actors: Any) -> None:
    """Be an actor from here to the end of the process."""
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # Whoever forked this process may be killed as well, and nobody is to live on.
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        silent = os.open(os.devnull, os.O_RDWR)
        os.dup2(silent, 0)
        os.dup2(silent, 1)
        code = actors.play(name, script)
    except BaseException:
        with suppress(OSError), Path(script["folder"], "errors", f"{name}-{os.getpid()}").open("w") as file:
            traceback.print_exc(file=file)
    finally:
        os._exit(code)


if __name__ == "__main__":
    serve()
