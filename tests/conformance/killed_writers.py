"""The life of a collection while processes write it and are killed; for stores that several processes use."""

from __future__ import annotations

from pathlib import Path

import undrift
from tests.conformance.live_writers import Writer, wrong_texts
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
    assert kb.count() == len(texts) + 120
    plane.close()
