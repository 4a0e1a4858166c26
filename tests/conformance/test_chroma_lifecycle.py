"""A collection in Chroma moves to another model and back; writers, a worker and the server are killed meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("chromadb")

import undrift
from tests.conformance.chroma_server import ChromaServer, running_chroma
from tests.conformance.killed_writers import DOCUMENTS, kill_a_worker_half_way
from tests.conformance.live_writers import Writer, wrong_texts
from undrift import Document
from undrift.domain.migration import Phase

pytestmark = pytest.mark.servers

_CONFIG = """
[stores.main]
url = "{url}"
listing_s = 0
[models.old]
provider = "hashing"
dimensions = 16
[models.new]
provider = "hashing"
dimensions = 24
[aliases.kb]
store = "main"
model = "old"
"""
#: What those that are killed leave behind is waited for no longer than this.
_SHORT = """
[aliases.kb.throttle]
max_rows_per_s = 400
[timing]
deadline_s = 3
fence_horizon_s = 3
lease_s = 6
work_lease_s = 6
"""


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[ChromaServer]:
    """A server that a test may kill."""
    folder = tmp_path / "server"
    folder.mkdir()
    with running_chroma(folder) as running:
        yield running


def configured(folder: Path, url: str, timing: str = "") -> Path:
    path = folder / "undrift.toml"
    path.write_text(_CONFIG.format(url=url) + timing, encoding="utf-8")
    return path


def test_no_acknowledged_write_is_lost_whoever_is_killed(mortal: ChromaServer, tmp_path: Path) -> None:
    plane = undrift.open(configured(tmp_path, mortal.url, _SHORT))
    kb = plane.alias("kb")
    kb.upsert([Document(id=f"d{number:03}", text=f"document number {number}") for number in range(DOCUMENTS)])
    writers = [Writer(tmp_path, f"w{number}") for number in range(2)]

    def kill_a_writer() -> None:
        writers[-2].kill()
        writers.append(Writer(tmp_path, f"w{len(writers)}"))

    def kill_the_server() -> None:
        mortal.kill()
        mortal.start()

    plane.register("kb", "new")
    kill_a_worker_half_way(tmp_path, plane)
    kill_the_server()
    plane.tune("kb", {"max_rows_per_s": "none"})
    plane.work("kb", lambda migration: migration.phase is Phase.READY)
    kill_a_writer()
    assert plane.cutover("kb", max_wait_s=30)["phase"] == "reversing"
    kill_the_server()
    assert plane.rollback("kb", now=True)["phase"] == "rolled_back"
    for writer in writers:
        if writer.process.poll() is None:
            writer.stop()

    alias = kb.route().alias
    plane.work("kb", lambda _: plane.ledger.lag(alias).dirty == 0 and plane.ledger.lag(alias).open == 0)
    assert plane.verify("kb")["verdict"] == "pass"
    texts = {document.id: document.text for document in kb.get([id for writer in writers for id in writer.possible])}
    assert wrong_texts(writers, texts) == {}
    assert sum(writer.count for writer in writers) > 10
    assert kb.count() == DOCUMENTS + len(texts)
    plane.close()


def test_a_folder_is_migrated_there_and_back_by_one_process(tmp_path: Path) -> None:
    plane = undrift.open(configured(tmp_path, "chroma:vectors"))
    kb = plane.alias("kb")
    kb.upsert([Document(id=f"d{at:02}", text=f"text {at}", metadata={"nested": [at, None]}) for at in range(20)])
    plane.register("kb", "new")
    plane.work("kb", lambda migration: migration.phase is Phase.READY)
    assert plane.cutover("kb", max_wait_s=30)["phase"] == "reversing"
    kb.upsert([Document(id="later", text="written after the cutover")])
    kb.delete(["d03"])
    assert plane.rollback("kb", now=True)["phase"] == "rolled_back"
    alias = kb.route().alias
    plane.work("kb", lambda _: plane.ledger.lag(alias).dirty == 0)

    assert plane.verify("kb")["verdict"] == "pass"
    assert {one.id: one.metadata for one in kb.get(["later", "d07", "d03"])} == {
        "later": {},
        "d07": {"nested": [7, None]},
    }
    assert kb.count() == 20
    plane.close()
