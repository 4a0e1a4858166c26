"""The life of a collection while processes write it and are killed; for stores that several processes use."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import undrift
from undrift import Document
from undrift.domain.migration import Phase

_CONFIG = """
ledger = "sqlite:///undrift.db"
[stores.main]
url = "{store}"
{options}
[models.old]
provider = "hashing"
dimensions = 32
[models.new]
provider = "hashing"
dimensions = 48
[aliases.kb]
store = "main"
model = "old"
[timing]
deadline_s = 2
fence_horizon_s = 2
lease_s = 4
work_lease_s = 4
"""
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
        """Let it end by itself."""
        assert self.process.stdin is not None
        self.process.stdin.write("stop\n")
        self.process.stdin.flush()
        self._close()
        assert self.process.returncode == 0

    def allowed(self, id: str) -> set[str | None]:
        """Return the texts that a document may have: that of the last acknowledged write, or of a later one."""
        return {None if turn % 5 == 0 else f"text {turn} of {self.name}" for turn in self.possible[id]} | (
            {None} if 0 in self.possible[id] else set()
        )

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


def live_and_be_killed(folder: Path, store: str, *, options: str = "", writers: int = 2) -> None:
    """Migrate there and back while processes write; no acknowledged write may be lost.

    Args:
        folder: where the configuration is put.
        store: the store's address.
        options: more lines of its settings.
        writers: how many processes write at once.
    """
    path = folder / "undrift.toml"
    path.write_text(_CONFIG.format(store=store, options=options), encoding="utf-8")
    plane = undrift.open(path)
    kb = plane.alias("kb")
    kb.upsert([Document(id=f"d{number:03}", text=f"document number {number}") for number in range(120)])
    running = [Writer(folder, f"w{number}") for number in range(writers)]

    def kill_one() -> None:
        running[-1].kill()
        running.append(Writer(folder, f"w{len(running)}"))

    plane.register("kb", "new")
    plane.work("kb", lambda migration: migration.phase is Phase.BACKFILL)
    kill_one()
    plane.work("kb", lambda migration: migration.phase is Phase.READY)
    assert plane.cutover("kb")["phase"] == "reversing"
    kill_one()
    assert plane.rollback("kb", now=True)["phase"] == "rolled_back"
    for writer in running:
        if writer.process.poll() is None:
            writer.stop()

    alias = kb.route().alias
    plane.work("kb", lambda _: plane.ledger.lag(alias).dirty == 0 and plane.ledger.lag(alias).open == 0)
    assert plane.verify("kb")["verdict"] == "pass"
    ids = [id for writer in running for id in writer.possible]
    texts = {document.id: document.text for document in kb.get(ids)}
    wrong = {
        id: (texts.get(id), writer.allowed(id))
        for writer in running
        for id in writer.possible
        if texts.get(id) not in writer.allowed(id)
    }
    assert wrong == {}
    assert sum(writer.count for writer in running) > 20
    assert plane.cutover("kb")["phase"] == "reversing"
    assert plane.complete("kb")["phase"] == "done"
    assert kb.count() == len(texts) + 120
    plane.close()
