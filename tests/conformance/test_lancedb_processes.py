"""Several processes use one LanceDB database at once, and some of them are killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lancedb")
pytest.importorskip("lance")

from tests.conformance.killed_writers import live_and_be_killed
from undrift.adapters.stores.lancedb import LanceDbStore
from undrift.domain.record import DocumentId
from undrift.domain.route import VectorField
from undrift.domain.space import Metric
from undrift.testing.stores import record, unit_vectors
from undrift.testing.stores.samples import SPACE, numbered, records

#: Inserts ids and puts keys into some of them; or writes all of them again and again.
_PROCESS = """
import sys
from undrift.adapters.stores.lancedb import LanceDbStore
from undrift.domain.route import VectorField
from undrift.testing.stores.samples import SPACE, numbered, records
folder, what, who = sys.argv[1:]
store = LanceDbStore(folder)
field = VectorField(store="main", collection="kb", space=SPACE.id)
store.count(field)
print("ready", flush=True)
sys.stdin.readline()
ids = numbered(60)
if what == "insert":
    for start in range(0, 60, 6):
        store.insert_absent(field, records(ids[start:start + 6], 8, seed=int(who), sequence=int(who)))
    for turn in range(6):
        store.merge_metadata(field, {id: {f"{who}-{turn}": turn} for id in ids[:4]}, sequence=int(who))
else:
    turn = 0
    while True:
        turn += 1
        store.upsert(field, records(ids, 8, seed=turn, sequence=turn))
        print(turn, flush=True)
store.close()
print("done", flush=True)
"""
FIELD = VectorField(store="main", collection="kb", space=SPACE.id)


def begun(folder: Path | str, what: str, who: int) -> Any:
    return subprocess.Popen(
        [sys.executable, "-c", _PROCESS, str(folder), what, str(who)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def at_once(folder: str, count: int) -> None:
    """Run processes that begin to insert at the same moment, and wait for all."""
    processes = [begun(folder, "insert", number) for number in range(1, count + 1)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        said, _ = process.communicate(timeout=120)
        assert (process.returncode, said) == (0, "done\n")


@pytest.fixture
def store(tmp_path: Path) -> Any:
    store = LanceDbStore(str(tmp_path / "vectors"))
    store.create(FIELD, dimensions=8, metric=Metric.COSINE)
    yield store
    store.close()


def test_processes_at_once_leave_one_record_of_each_id_and_every_key_that_they_put_in(
    store: LanceDbStore, tmp_path: Path
) -> None:
    import lancedb

    # Named by an address the folder is no folder, and processes have nothing but the engine between them.
    at_once(f"file://{tmp_path}/vectors", 3)

    rows = lancedb.connect(str(tmp_path / "vectors")).open_table("kb").to_arrow()
    assert sorted(rows["id"].to_pylist()) == numbered(60)
    put = {f"{who}-{turn}" for who in (1, 2, 3) for turn in range(6)}
    for id, entry in store.entries(FIELD, numbered(60)).items():
        assert set(entry.metadata) == {"n", "seed", *(put if id in numbered(4) else ())}


def test_a_writer_that_is_killed_leaves_whole_versions(store: LanceDbStore, tmp_path: Path) -> None:
    for _ in range(2):
        process = begun(tmp_path / "vectors", "upsert", 1)
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        acknowledged = int(process.stdout.readline())
        acknowledged = int(process.stdout.readline())
        process.kill()
        said, _ = process.communicate(timeout=60)
        acknowledged = max([acknowledged, *(int(line) for line in said.splitlines() if line)])

        found = store.fetch(FIELD, numbered(60))
        assert len(found) == 60
        (sequence,) = {one.tag.sequence for one in found.values()}
        assert sequence >= acknowledged
        store.upsert(FIELD, records(numbered(60), 8, seed=1000))
        assert {one.tag.sequence for one in store.fetch(FIELD, numbered(60)).values()} == {0}


def test_no_acknowledged_write_is_lost_whoever_is_killed(tmp_path: Path) -> None:
    live_and_be_killed(tmp_path, "lancedb:vectors", options="compact_after = 8")


def test_files_stay_few_however_often_is_written(tmp_path: Path) -> None:
    import lance

    store = LanceDbStore(str(tmp_path), compact_after=8)
    store.create(FIELD, dimensions=8, metric=Metric.COSINE)
    for turn, vector in enumerate(unit_vectors(60, 8)):
        store.upsert(FIELD, [record(f"id-{turn % 40:02}", vector, sequence=turn)])
    store.close()

    assert len(lance.dataset(str(tmp_path / "kb.lance")).get_fragments()) < 30
    found = store.fetch(FIELD, [DocumentId(f"id-{number:02}") for number in range(40)])
    assert [found[id].tag.sequence for id in sorted(found)] == [*range(40, 60), *range(20, 40)]
    store.close()


def test_a_collection_is_looked_after_by_one_process_at_a_time(tmp_path: Path) -> None:
    from undrift.adapters.stores.lancedb.housekeeping import Housekeeper
    from undrift.adapters.stores.lancedb.leases import LEASES, Leases
    from undrift.adapters.stores.lancedb.session import Session

    store = LanceDbStore(str(tmp_path))
    store.create(FIELD, dimensions=8, metric=Metric.COSINE)
    sessions = [Session(str(tmp_path)) for _ in range(2)]
    leases = Leases(sessions[0])
    housekeeper = Housekeeper(sessions[1], every=1, keep_s=600, index_from=None)

    assert sessions[0].run(lambda: leases.take("kb", 60), 10, LEASES)
    assert not housekeeper.look_after("kb")
    sessions[0].run(lambda: leases.give_back("kb"), 10, LEASES)
    assert housekeeper.look_after("kb")
    for session in sessions:
        session.close()
    store.close()
