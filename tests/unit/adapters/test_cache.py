from __future__ import annotations

import logging
import multiprocessing
import threading
from pathlib import Path

import apsw
import numpy as np
import pytest

from undrift.adapters.caches.sqlite import SqliteVectorCache
from undrift.domain.record import ContentHash, Vectors, content_hash
from undrift.domain.space import SpaceId

SPACE = SpaceId("model-8-0123456789ab")
OTHER = SpaceId("model-8-ba9876543210")
D = 8


def hashes(*texts: object) -> list[ContentHash]:
    return [content_hash(str(text)) for text in texts]


def vectors(count: int, *, seed: int = 1, dimensions: int = D) -> Vectors:
    return np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "vectors.db"


def test_what_was_kept_is_there_bit_for_bit(path: Path) -> None:
    kept = vectors(3)
    SqliteVectorCache(path).put(SPACE, hashes("a", "b", "c"), kept)

    found = SqliteVectorCache(path).get(SPACE, hashes("c", "a", "missing"))

    assert set(found) == set(hashes("a", "c"))
    np.testing.assert_array_equal(found[hashes("c")[0]], kept[2])
    assert found[hashes("a")[0]].dtype == np.float32
    assert found[hashes("a")[0]].shape == (D,)
    assert found[hashes("a")[0]].flags.writeable


def test_another_space_never_answers(path: Path) -> None:
    cache = SqliteVectorCache(path)
    cache.put(SPACE, hashes("a"), vectors(1))

    assert cache.get(OTHER, hashes("a")) == {}
    assert cache.get(SPACE, hashes("a"))


def test_the_first_vector_of_a_text_stays(path: Path) -> None:
    cache = SqliteVectorCache(path)
    cache.put(SPACE, hashes("a"), vectors(1, seed=1))
    cache.put(SPACE, hashes("a", "b"), vectors(2, seed=2))

    np.testing.assert_array_equal(cache.get(SPACE, hashes("a"))[hashes("a")[0]], vectors(1, seed=1)[0])
    assert len(cache.get(SPACE, hashes("a", "b"))) == 2


def test_nothing_is_a_valid_amount(path: Path) -> None:
    cache = SqliteVectorCache(path)
    cache.put(SPACE, [], vectors(0))

    assert cache.get(SPACE, []) == {}


def test_as_many_vectors_as_hashes_are_needed(path: Path) -> None:
    with pytest.raises(ValueError, match="zip"):
        SqliteVectorCache(path).put(SPACE, hashes("a", "b"), vectors(1))


def test_the_oldest_vectors_leave_when_it_is_full(path: Path) -> None:
    cache = SqliteVectorCache(path, max_bytes=400_000)
    texts = [f"text {number}" for number in range(1000)]
    for start in range(0, 1000, 50):
        cache.put(SPACE, hashes(*texts[start : start + 50]), vectors(50, seed=start, dimensions=256))

    kept = cache.get(SPACE, hashes(*texts))
    left = [number for number, hash in enumerate(hashes(*texts)) if hash in kept]

    assert left == list(range(left[0], 1000))
    assert 200 < len(left) < 400
    assert path.stat().st_size < 600_000


def test_a_vector_that_is_asked_for_stays_longer(path: Path) -> None:
    """It is what leaves last that was asked for last, not what was made last."""
    cache = SqliteVectorCache(path, max_bytes=400_000)
    wanted, texts = hashes("boilerplate"), [f"text {number}" for number in range(1000)]
    cache.put(SPACE, wanted, vectors(1, seed=9, dimensions=256))
    for start in range(0, 1000, 50):
        cache.put(SPACE, hashes(*texts[start : start + 50]), vectors(50, seed=start, dimensions=256))
        assert set(cache.get(SPACE, wanted)) == set(wanted), start

    np.testing.assert_array_equal(cache.get(SPACE, wanted)[wanted[0]], vectors(1, seed=9, dimensions=256)[0])
    assert not cache.get(SPACE, hashes("text 0"))


def test_a_cache_smaller_than_one_batch_still_takes_writes(path: Path) -> None:
    cache = SqliteVectorCache(path, max_bytes=1)
    cache.put(SPACE, hashes("a"), vectors(1))
    cache.put(SPACE, hashes("b"), vectors(1))

    assert cache.get(SPACE, hashes("a", "b")) == {}


def test_a_vector_that_was_damaged_on_disk_is_not_handed_out(path: Path) -> None:
    cache = SqliteVectorCache(path)
    cache.put(SPACE, hashes("a", "b", "c"), vectors(3))
    side_door = apsw.Connection(str(path))
    side_door.execute("UPDATE vector SET vector = zeroblob(32) WHERE hash = ?", (hashes("a")[0],))
    side_door.execute("UPDATE vector SET hash = ? WHERE hash = ?", (hashes("moved")[0], hashes("b")[0]))
    side_door.close()

    assert set(cache.get(SPACE, hashes("a", "b", "c", "moved"))) == set(hashes("c"))


@pytest.mark.parametrize("rubbish", [b"this is no database" * 400, b"\x00" * 8192], ids=["words", "zeros"])
def test_a_file_that_is_no_database_is_put_aside_and_begun_anew(
    path: Path, rubbish: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_bytes(rubbish)
    cache = SqliteVectorCache(path)

    with caplog.at_level(logging.WARNING):
        assert cache.get(SPACE, hashes("a")) == {}
        cache.put(SPACE, hashes("a"), vectors(1))

    assert cache.get(SPACE, hashes("a"))
    assert Path(f"{path}.broken").read_bytes() == rubbish
    assert len(caplog.messages) == 1
    assert "was damaged" in caplog.messages[0]


def test_a_file_that_is_damaged_while_it_is_open_is_begun_anew(path: Path) -> None:
    cache = SqliteVectorCache(path)
    texts = [f"text {number}" for number in range(500)]
    cache.put(SPACE, hashes(*texts), vectors(500, dimensions=256))
    other = SqliteVectorCache(path)
    assert other.get(SPACE, hashes("text 1"))
    side_door = apsw.Connection(str(path))
    side_door.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    side_door.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))

    fresh = SqliteVectorCache(path)
    assert fresh.get(SPACE, hashes(*texts)) == {}
    for each, text in ((fresh, "new"), (cache, "newer"), (other, "newest")):
        each.put(SPACE, hashes(text), vectors(1))

    assert set(other.get(SPACE, hashes("new", "newer", "newest"))) == set(hashes("new", "newer", "newest"))


def test_a_cache_whose_file_was_deleted_begins_anew(path: Path) -> None:
    cache = SqliteVectorCache(path)
    cache.put(SPACE, hashes("a"), vectors(1))
    for file in path.parent.glob("vectors.db*"):
        file.unlink()

    assert cache.get(SPACE, hashes("a")) == {}
    cache.put(SPACE, hashes("a"), vectors(1))
    assert cache.get(SPACE, hashes("a"))


def test_a_place_that_cannot_be_written_costs_money_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    cache = SqliteVectorCache(tmp_path / "file" / "vectors.db")

    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            cache.put(SPACE, hashes("a"), vectors(1))
            assert cache.get(SPACE, hashes("a")) == {}

    assert len(caplog.messages) == 1
    assert "cannot be used" in caplog.messages[0]


def test_a_closed_cache_opens_again(path: Path) -> None:
    cache = SqliteVectorCache(path)
    cache.put(SPACE, hashes("a"), vectors(1))
    cache.close()
    cache.close()

    assert cache.get(SPACE, hashes("a"))


def fill(path: Path, worker: int) -> None:
    cache = SqliteVectorCache(path)
    for number in range(40):
        mine = hashes(f"{worker}/{number}", f"shared/{number}")
        cache.put(SPACE, mine, vectors(2, seed=number))
        assert set(cache.get(SPACE, mine)) == set(mine)
    cache.close()


def test_several_processes_share_it(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=fill, args=(path, worker)) for worker in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    wanted = hashes(*(f"{who}/{number}" for who in (0, 1, 2, "shared") for number in range(40)))
    assert set(SqliteVectorCache(path).get(SPACE, wanted)) == set(wanted)


def test_several_threads_share_it_and_mend_it_once(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"rubbish" * 2000)
    cache = SqliteVectorCache(path)
    begin = threading.Barrier(6)

    def work(worker: int) -> None:
        begin.wait(timeout=30)
        for number in range(20):
            cache.put(SPACE, hashes(f"{worker}/{number}"), vectors(1))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    wanted = hashes(*(f"{worker}/{number}" for worker in range(6) for number in range(20)))
    assert set(cache.get(SPACE, wanted)) == set(wanted)
