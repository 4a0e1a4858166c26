"""The SQLite ledger keeps every rule of the port, whatever happens to its file and to the clocks of the machine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.conformance.sqlite_ledger import BOOT, SqliteLedgerBench
from undrift.adapters.ledgers.sqlite import SqliteLedger
from undrift.adapters.ledgers.sqlite.session import SCHEMA_VERSION
from undrift.adapters.sqlite import Database, Durability
from undrift.domain.migration import Phase, RunStatus
from undrift.domain.operation import Opened
from undrift.domain.route import AliasName, Mode
from undrift.errors import ControlUnavailable, LedgerUnusable
from undrift.ports.ledger import Ledger
from undrift.testing.clock import VirtualClock
from undrift.testing.ledgers import LedgerConformance
from undrift.testing.ledgers.bench import (
    ALIAS,
    DEADLINE_S,
    LEASE_S,
    ME,
    MOMENT_S,
    SETTLE_S,
    YOU,
    begin,
    claim,
    enter,
    flip,
    ids,
    lay_out,
    lease,
    make_alias,
    migration_of,
    opened,
    present,
    publish,
    route_of,
    write,
)

NOBODY = 65534


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SqliteLedgerBench]:
    bench = SqliteLedgerBench(tmp_path / "ledger.db")
    yield bench
    bench.close()


class TestSqliteLedger(LedgerConformance):
    pass


class MachineClock(VirtualClock):
    """A machine whose wall clock can be set, and whose suspend-aware clock begins anew with every boot."""

    def __init__(self, *, wall: datetime, monotonic: float) -> None:
        super().__init__(monotonic)
        self.wall_offset = wall - timedelta(seconds=monotonic)

    def now(self) -> datetime:
        return self.wall_offset + timedelta(seconds=self.monotonic())

    def set_wall(self, by: timedelta) -> None:
        self.wall_offset += by


NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def ledger_at(path: Path, clock: VirtualClock, boot: str = BOOT) -> Ledger:
    return SqliteLedger(Database(path), clock, boot_id=boot)


# The file


@pytest.mark.parametrize(
    "content", [b"no database at all, but long enough to have a header" * 40, b"SQLite format 3\0" + b"\xff" * 8000]
)
def test_a_file_that_is_no_ledger_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(content)
    ledger = ledger_at(path, VirtualClock())

    with pytest.raises(LedgerUnusable, match=r"ledger\.db"):
        ledger.aliases()

    assert path.read_bytes() == content


def test_a_ledger_that_was_damaged_while_it_rested_is_refused(bench: SqliteLedgerBench) -> None:
    begin(bench.ledger)
    for number in range(200):
        write(bench.ledger, f"key {number}")
    bench.close()
    whole = bytearray(bench.path.read_bytes())
    whole[4096:] = os.urandom(len(whole) - 4096)
    bench.path.write_bytes(whole)

    with pytest.raises(LedgerUnusable):
        bench.ledger.lag(ALIAS)


def test_a_ledger_of_a_newer_version_is_refused_and_left_alone(bench: SqliteLedgerBench) -> None:
    make_alias(bench.ledger)
    bench.close()
    bench.sql("UPDATE ledger_meta SET value = ? WHERE key = 'schema_version'", str(SCHEMA_VERSION + 1))
    before = bench.sql("SELECT * FROM alias")

    with pytest.raises(LedgerUnusable, match="newer undrift") as refused:
        make_alias(bench.ledger, AliasName("more"))

    assert str(SCHEMA_VERSION + 1) in refused.value.detail
    assert "upgrade" in refused.value.hint
    assert bench.sql("SELECT * FROM alias") == before


@contextmanager
def as_nobody() -> Iterator[None]:
    """Lay down the rights of root, before which no file is read-only."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that everybody may enter; pytest's own may be closed to others."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder.is_relative_to(tempfile.gettempdir()):
            folder.chmod(0o755)
    folder = tmp_path / "ledger"
    folder.mkdir()
    yield folder
    folder.chmod(0o755)


def test_a_ledger_cannot_be_begun_in_a_folder_that_is_read_only(open_folder: Path) -> None:
    open_folder.chmod(0o555)
    ledger = ledger_at(open_folder / "ledger.db", VirtualClock())

    with as_nobody(), pytest.raises(ControlUnavailable, match=r"ledger\.db"):
        make_alias(ledger)

    assert list(open_folder.iterdir()) == []


def test_a_ledger_in_a_folder_that_became_read_only_is_said_to_be(open_folder: Path) -> None:
    path = open_folder / "ledger.db"
    begun = ledger_at(path, VirtualClock())
    begin(begun)
    begun.close_ledger()
    for file in open_folder.iterdir():
        file.chmod(0o444)
    open_folder.chmod(0o555)
    ledger = ledger_at(path, VirtualClock())

    with as_nobody(), pytest.raises(ControlUnavailable):
        ledger.open(ALIAS, ids("a"), client=ME, deadline_s=DEADLINE_S)

    ledger.close_ledger()
    open_folder.chmod(0o755)
    for file in open_folder.iterdir():
        file.chmod(0o644)
    assert begun.journal_state(ALIAS, ids("a")) == {}
    begun.close_ledger()


def test_on_a_full_disk_a_write_is_refused_before_the_store_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    roomy = ledger_at(path, VirtualClock())
    begin(roomy)
    roomy.close_ledger()
    pages = path.stat().st_size // 4096
    small = SqliteLedger(
        Database(path, prepare=lambda it: it.execute(f"PRAGMA max_page_count={pages + 4}")),
        VirtualClock(),
        boot_id=BOOT,
    )
    acknowledged = []
    with pytest.raises(ControlUnavailable, match="disk is full"):
        for number in range(1000):
            keys = [f"{number} {place} {'x' * 400}" for place in range(5)]
            write(small, *keys)
            acknowledged.append(keys)
    refused = [f"{len(acknowledged)} {place} {'x' * 400}" for place in range(5)]
    small.close_ledger()

    assert acknowledged
    assert roomy.lag(ALIAS).open == 0
    assert roomy.lag(ALIAS).dirty == 5 * len(acknowledged)
    assert roomy.journal_state(ALIAS, ids(*refused)) == {}
    write(roomy, *refused)
    roomy.close_ledger()


def test_processes_that_begin_a_ledger_at_once_begin_the_same(tmp_path: Path) -> None:
    clock = VirtualClock()

    def work(number: int) -> None:
        ledger = ledger_at(tmp_path / "ledger.db", clock)
        make_alias(ledger, AliasName(f"alias {number}"))
        ledger.close_ledger()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(12)))

    assert len(ledger_at(tmp_path / "ledger.db", clock).aliases()) == 12


# How durable a commit is


@pytest.fixture
def durabilities(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], set[Durability]]:
    """Tells how durable the commits of an act are."""
    seen: list[Durability] = []
    transaction = Database.transaction

    def spied(self: Database, durability: Durability = Durability.FULL) -> Any:
        seen.append(durability)
        return transaction(self, durability)

    def of(act: Callable[[], Any]) -> set[Durability]:
        seen.clear()
        act()
        return set(seen)

    monkeypatch.setattr(Database, "transaction", spied)
    return of


def test_what_must_survive_a_power_loss_is_committed_so(bench: SqliteLedgerBench, durabilities: Any) -> None:
    begin(bench.ledger, Phase.READY)
    answers = []

    assert durabilities(lambda: answers.append(opened(bench.ledger, "a"))) == {Durability.FULL}
    assert durabilities(lambda: bench.ledger.close(ALIAS, answers[0].operation, ids("a"))) == {Durability.NORMAL}
    assert durabilities(lambda: flip(bench.ledger)) == {Durability.FULL}
    assert durabilities(lambda: enter(bench.ledger, Phase.RETIRING)) == {Durability.FULL}
    assert durabilities(lambda: enter(bench.ledger, Phase.DONE)) == {Durability.FULL}


def test_tokens_of_a_budget_are_reserved_durably(bench: SqliteLedgerBench, durabilities: Any) -> None:
    """A reservation that a power loss takes back would be spent twice; a mere count may be lost."""
    migration = begin(bench.ledger)
    assert durabilities(lambda: bench.ledger.spend(migration.id, 1)) == {Durability.NORMAL}

    bench.ledger.set_budget(migration.id, tokens=100, usd=None)

    assert durabilities(lambda: bench.ledger.spend(migration.id, 1)) == {Durability.FULL}


# What the port leaves to the ledger


def test_a_document_under_constant_writes_is_carried_now_and_then(bench: SqliteLedgerBench) -> None:
    """Not at once, because it could not be cleared; not never, because a cutover would never come; not all the time."""
    begin(bench.ledger)
    opened(bench.ledger, "a")

    assert claim(bench.other) == []
    bench.clock.advance(6)
    for _ in range(3):
        claims = claim(bench.other)
        assert [one.key for one in claims] == ["a"]
        assert bench.other.clear(ALIAS, claims, owner=ME) == 0
        opened(bench.ledger, "a")
        assert claim(bench.other) == []
        bench.clock.advance(6)


def test_a_document_is_carried_as_soon_as_the_last_write_to_it_has_ended(bench: SqliteLedgerBench) -> None:
    begin(bench.ledger)
    first, second = opened(bench.ledger, "a").operation, opened(bench.ledger, "a").operation
    bench.clock.advance(6)
    bench.other.clear(ALIAS, claim(bench.other), owner=ME)

    bench.ledger.close(ALIAS, first, ids("a"))
    assert claim(bench.other) == []
    bench.ledger.close(ALIAS, second, ids("a"))
    assert [one.key for one in claim(bench.other)] == ["a"]


def test_the_end_of_a_write_does_not_hurry_a_document_that_cannot_be_carried(bench: SqliteLedgerBench) -> None:
    begin(bench.ledger)
    operation = opened(bench.ledger, "a").operation
    bench.clock.advance(6)
    bench.other.postpone(ALIAS, claim(bench.other), owner=ME, delay_s=60.0, error="the model is down")

    bench.ledger.close(ALIAS, operation, ids("a"))

    assert claim(bench.other) == []
    bench.clock.advance(61)
    assert len(claim(bench.other)) == 1


@pytest.mark.parametrize("status", [RunStatus.PAUSED, RunStatus.STOPPED, RunStatus.HALTED])
def test_a_pause_stops_carrying_except_for_what_writers_wait_for(bench: SqliteLedgerBench, status: RunStatus) -> None:
    begin(bench.ledger, Phase.READY)
    write(bench.ledger, "foreign", "asked for")
    bench.ledger.clear(ALIAS, claim(bench.ledger, only=ids("asked for")), owner=ME)
    flip(bench.ledger)
    write(bench.ledger, "asked for", "other")
    bench.ledger.save_run_status(migration_of(bench.ledger).id, status, reason="", who="")

    assert [one.key for one in claim(bench.other, owner=YOU)] == ["foreign"]
    assert [one.key for one in claim(bench.other, owner=YOU, only=ids("asked for"))] == ["asked for"]


# Time


def test_the_wall_clock_may_jump_while_leases_run(tmp_path: Path) -> None:
    clock = MachineClock(wall=NOON, monotonic=500.0)
    ledger = ledger_at(tmp_path / "ledger.db", clock)
    begin(ledger)
    lay_out(ledger, "b")
    publish(ledger, present(lease(ledger)))
    for jump in (timedelta(days=-400), timedelta(days=900)):
        clock.set_wall(jump)
        newcomer = ledger_at(tmp_path / "ledger.db", clock)
        assert newcomer.lease_chunk(ALIAS, migration_of(newcomer).id, owner=YOU, lease_s=1, settle_s=SETTLE_S) is None
        newcomer.close_ledger()

    clock.advance(LEASE_S + SETTLE_S + MOMENT_S)

    newcomer = ledger_at(tmp_path / "ledger.db", clock)
    assert lease(newcomer, owner=YOU) is not None
    newcomer.close_ledger()
    ledger.close_ledger()


@pytest.mark.parametrize("wall", [NOON - timedelta(days=3), NOON, NOON + timedelta(days=3)])
def test_after_a_reboot_whatever_was_going_on_is_over(tmp_path: Path, wall: datetime) -> None:
    """The machine's clock begins anew, and its wall clock may be wrong; no lease may seem to last for days."""
    path = tmp_path / "ledger.db"
    before = ledger_at(path, MachineClock(wall=NOON, monotonic=86_400.0 * 20), "boot-1")
    begin(before)
    lay_out(before, "b", "d")
    publish(before, present(lease(before)))
    lease(before)
    write(before, "x")
    claim(before)
    opened(before, "y")
    before.register_client(ME, host="h", pid=1, role="app", version="1", lease_s=LEASE_S)
    before.join(ME, ALIAS)
    before.hold(route_of(before), 60.0)
    before.close_ledger()

    clock = MachineClock(wall=wall, monotonic=30.0)
    after = ledger_at(path, clock, "boot-2")

    assert route_of(after).mode is Mode.JOURNAL
    clock.advance(SETTLE_S + MOMENT_S)
    assert after.unacknowledged(ALIAS, 99, SETTLE_S) == []
    assert after.reap(ALIAS, SETTLE_S) == 1
    assert after.in_flight(ALIAS, SETTLE_S) == 0
    assert {one.key for one in claim(after, owner=YOU)} == {"x", "y"}
    assert lease(after, owner=YOU) is not None
    assert lease(after, owner=YOU) is not None
    after.close_ledger()


def test_time_goes_on_from_boot_to_boot(tmp_path: Path) -> None:
    """A dirty document does not become younger by a reboot."""
    path = tmp_path / "ledger.db"
    before = ledger_at(path, MachineClock(wall=NOON, monotonic=1000.0), "boot-1")
    begin(before)
    write(before, "a")
    before.close_ledger()

    after = ledger_at(path, MachineClock(wall=NOON + timedelta(minutes=5), monotonic=10.0), "boot-2")

    assert present(after.lag(ALIAS).oldest_s) == pytest.approx(300.0)
    after.close_ledger()


def test_a_transaction_that_is_undone_does_not_take_the_time_along(tmp_path: Path) -> None:
    """Each process would go on with an offset of its own, and the wall clock may jump between them."""
    path = tmp_path / "ledger.db"
    clock = MachineClock(wall=NOON, monotonic=1000.0)
    setting_up = ledger_at(path, clock, "boot-0")
    begin(setting_up)
    setting_up.close_ledger()
    first = SqliteLedger(Database(path), clock, boot_id="boot-1")
    with pytest.raises(RuntimeError), first._joint():
        opened(first, "a")
        raise RuntimeError
    clock.set_wall(timedelta(days=1))
    second = ledger_at(path, clock, "boot-1")
    opened(first, "a")

    assert second.reap(ALIAS, SETTLE_S) == 0
    clock.advance(DEADLINE_S + SETTLE_S + MOMENT_S)
    assert second.reap(ALIAS, SETTLE_S) == 1
    first.close_ledger()
    second.close_ledger()


def test_a_freeze_of_the_last_boot_does_not_keep_a_new_process_from_looking(tmp_path: Path) -> None:
    """The first thing a process of a new boot does may be to look at the state."""
    path = tmp_path / "ledger.db"
    before = ledger_at(path, MachineClock(wall=NOON, monotonic=1000.0), "boot-1")
    begin(before, Phase.READY)
    before.hold(route_of(before), 600.0)
    before.close_ledger()

    after = ledger_at(path, MachineClock(wall=NOON, monotonic=1.0), "boot-2")

    assert present(after.alias(ALIAS)).route.mode is Mode.JOURNAL
    after.close_ledger()


# One transaction with a store in the same file


class Shelf:
    """The least that can share a file with a ledger."""

    def __init__(self, database: Database) -> None:
        self.database = database
        database.also_prepare(self._prepare)

    def _prepare(self, connection: apsw.Connection) -> None:
        connection.execute("CREATE TABLE IF NOT EXISTS shelf (id TEXT PRIMARY KEY)")

    def put(self, id: str) -> None:
        with self.database.transaction() as connection:
            connection.execute("INSERT INTO shelf VALUES (?)", (id,))

    def ids(self) -> list[str]:
        return [id for (id,) in self.database.read("SELECT id FROM shelf ORDER BY id")]


def test_ledger_and_store_in_one_file_commit_together(tmp_path: Path) -> None:
    database = Database(tmp_path / "all.db")
    ledger, shelf = SqliteLedger(database, VirtualClock(), boot_id=BOOT), Shelf(database)
    begin(ledger)
    joint = ledger.transaction_with(shelf)
    assert joint is not None

    with joint:
        operation = opened(ledger, "a")
        shelf.put("a")
        assert ledger.close(ALIAS, operation.operation, ids("a"))

    elsewhere = SqliteLedger(Database(tmp_path / "all.db"), VirtualClock(), boot_id=BOOT)
    assert shelf.ids() == ["a"]
    assert (elsewhere.lag(ALIAS).dirty, elsewhere.lag(ALIAS).open) == (1, 0)
    elsewhere.close_ledger()
    ledger.close_ledger()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_ledger_and_store_in_one_file_are_undone_together(tmp_path: Path, error: type[BaseException]) -> None:
    database = Database(tmp_path / "all.db")
    ledger, shelf = SqliteLedger(database, VirtualClock(), boot_id=BOOT), Shelf(database)
    begin(ledger)
    joint = ledger.transaction_with(shelf)
    assert joint is not None

    with pytest.raises(error), joint:
        assert isinstance(ledger.open(ALIAS, ids("a"), client=ME, deadline_s=DEADLINE_S), Opened)
        shelf.put("a")
        raise error

    assert shelf.ids() == []
    assert (ledger.lag(ALIAS).dirty, ledger.lag(ALIAS).open) == (0, 0)
    assert ledger.journal_state(ALIAS, ids("a")) == {}
    write(ledger, "a")
    ledger.close_ledger()


def test_a_store_in_another_file_shares_no_transaction(tmp_path: Path) -> None:
    ledger = SqliteLedger(Database(tmp_path / "ledger.db"), VirtualClock(), boot_id=BOOT)

    assert ledger.transaction_with(Shelf(Database(tmp_path / "vectors.db"))) is None
    ledger.close_ledger()


def test_a_table_that_was_added_later_does_not_keep_an_older_version_out(bench: SqliteLedgerBench) -> None:
    """A file of the first version gets what is missing; its version, which an older one looks at, stays."""
    begin(bench.ledger)
    bench.sql("DROP TABLE bookmark")
    bench.sql("DELETE FROM ledger_meta WHERE key = 'schema_minor'")
    bench.ledger.close_ledger()

    newer = bench.handle()
    newer.save_bookmark(ALIAS, "verify.run", {"cursor": "a"})

    assert newer.bookmark(ALIAS, "verify.run") == {"cursor": "a"}
    assert dict(bench.sql("SELECT key, value FROM ledger_meta"))["schema_version"] == str(SCHEMA_VERSION)
    newer.close_ledger()
