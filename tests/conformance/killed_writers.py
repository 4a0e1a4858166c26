"""The life of a collection while processes write it, of which some are killed, and so is a worker."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import undrift
from tests.conformance.live_writers import Writer, wrong_texts
from undrift import Document
from undrift.control import ControlPlane
from undrift.domain.migration import Phase
from undrift.ports.store import Layout

_CONFIG = """
ledger = "{ledger}"
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
[aliases.kb.throttle]
max_rows_per_s = 400
[timing]
deadline_s = 2
fence_horizon_s = 2
lease_s = 4
work_lease_s = 4
"""


#: More than one piece of the back-fill has.
DOCUMENTS = 600


def kill_a_worker_half_way(folder: Path, plane: ControlPlane) -> None:
    """Let a process begin the work, and end it by SIGKILL when it has carried over a part."""
    state = plane.ledger.alias(plane.alias("kb").name)
    assert state is not None
    assert state.migration is not None
    worker = subprocess.Popen([sys.executable, "-m", "undrift", "worker", "kb"], cwd=folder)
    until = time.monotonic() + 60
    while True:
        done, _, _ = plane.ledger.chunk_progress(state.migration.id)
        if done:
            break
        assert worker.poll() is None
        assert time.monotonic() < until
        plane.clock.sleep(0.02)
    worker.kill()
    worker.wait(60)
    assert 0 < done < DOCUMENTS


def live_and_be_killed(
    folder: Path,
    store: str,
    *,
    options: str = "",
    ledger: str = "sqlite:///undrift.db",
    layout: Layout | None = None,
    writers: int = 2,
) -> None:
    """Migrate there and back while processes write; no acknowledged write may be lost.

    Args:
        folder: where the configuration is put.
        store: the store's address.
        options: more lines of its settings.
        ledger: the ledger's address.
        layout: where the new vectors are put; in a collection of their own by default.
        writers: how many processes write at once.
    """
    path = folder / "undrift.toml"
    path.write_text(_CONFIG.format(ledger=ledger, store=store, options=options), encoding="utf-8")
    plane = undrift.open(path)
    kb = plane.alias("kb")
    kb.upsert([Document(id=f"d{number:03}", text=f"document number {number}") for number in range(DOCUMENTS)])
    running = [Writer(folder, f"w{number}") for number in range(writers)]

    def kill_one() -> None:
        running[-1].kill()
        running.append(Writer(folder, f"w{len(running)}"))

    plane.register("kb", "new", layout=layout)
    kill_a_worker_half_way(folder, plane)
    kill_one()
    plane.tune("kb", {"max_rows_per_s": "none"})
    plane.work("kb", lambda migration: migration.phase is Phase.READY)
    assert plane.cutover("kb", max_wait_s=30)["phase"] == "reversing"
    kill_one()
    assert plane.rollback("kb", now=True)["phase"] == "rolled_back"
    for writer in running:
        writer.stop()

    alias = kb.route().alias
    plane.work("kb", lambda _: plane.ledger.lag(alias).dirty == 0 and plane.ledger.lag(alias).open == 0)
    assert plane.verify("kb")["verdict"] == "pass"
    ids = [id for writer in running for id in writer.possible]
    texts = {document.id: document.text for document in kb.get(ids)}
    assert wrong_texts(running, texts) == {}
    assert sum(writer.count for writer in running) > 20
    assert plane.cutover("kb", max_wait_s=30)["phase"] == "reversing"
    assert plane.complete("kb")["phase"] == "done"
    assert kb.count() == len(texts) + DOCUMENTS
    plane.close()
