"""Processes that write to the alias `kb` of a configuration until they are stopped or killed, and say what they do."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

#: Says what it is about to write, writes it, and says that it is acknowledged.
_WRITER = """
import sys, threading, time
import undrift
from undrift import Document
from undrift.errors import UndriftError
name = sys.argv[1]
plane = undrift.open("undrift.toml")
kb = plane.alias("kb")
stop = []
threading.Thread(target=lambda: stop.append(sys.stdin.readline()), daemon=True).start()
turn = 0
while not stop:
    turn += 1
    id = f"{name}-{turn % 9}"
    print("try", id, turn, flush=True)
    try:
        if turn % 5 == 0:
            kb.delete([id])
        else:
            kb.upsert([Document(id=id, text=f"text {turn} of {name}")])
    except UndriftError as error:
        if not error.retryable:
            raise
        continue
    print("did", id, turn, flush=True)
    time.sleep(0.05)
plane.close()
print("end", flush=True)
"""


class Writer:
    """A process that writes, and what it said."""

    def __init__(self, folder: Path, name: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WRITER, name], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.name = name
        self.possible: dict[str, list[int]] = {}
        self.count = 0
        self._begun = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        assert self._begun.wait(90)

    def kill(self) -> None:
        """End it wherever it is."""
        self.process.kill()
        self._close()

    def stop(self) -> None:
        """Let it end by itself, if it has not ended."""
        if self.process.poll() is not None:
            return
        assert self.process.stdin is not None
        self.process.stdin.write("stop\n")
        self.process.stdin.flush()
        self._close()
        assert self.process.returncode == 0

    def allowed(self, id: str) -> set[str | None]:
        """Return the texts that a document may have: that of the last acknowledged write, or of a later one."""
        return {None if turn % 5 == 0 else f"text {turn} of {self.name}" for turn in self.possible[id]}

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line == "end\n" or not line.endswith("\n"):
                continue
            word, id, turn = line.split()
            if word == "did":
                self.possible[id] = [int(turn)]
                self.count += 1
            else:
                self.possible.setdefault(id, [0]).append(int(turn))
            if self.count > 3:
                self._begun.set()

    def _close(self) -> None:
        self.process.wait(60)
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


def wrong_texts(writers: list[Writer], texts: dict[str, str]) -> dict[str, tuple[str | None, set[str | None]]]:
    """Return the documents whose text is that of no write that may be the last one, with those that may be."""
    return {
        id: (texts.get(id), writer.allowed(id))
        for writer in writers
        for id in writer.possible
        if texts.get(id) not in writer.allowed(id) and not (texts.get(id) is None and 0 in writer.possible[id])
    }
