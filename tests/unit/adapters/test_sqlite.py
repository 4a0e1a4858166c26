"""The plumbing of SQLite files: turns, transactions, forks, and files that are gone, full, damaged or read-only."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import apsw
import pytest

from undrift.adapters.sqlite import (
    Database,
    Durability,
    Owner,
    filesystem_of,
    refuse_network_filesystem,
    sqlite_is_safe,
    translate,
    translating,
)
from undrift.errors import (
    ControlUnavailable,
    LedgerUnusable,
    StoreFull,
    StoreRejected,
    StoreUnavailable,
    StoreUnusable,
    UndriftError,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    database = Database(path)
    with database.transaction() as connection:
        connection.execute("CREATE TABLE kept (value)")
    yield database
    database.close()


@pytest.fixture
def elsewhere(database: Database) -> Iterator[Database]:
    """The same file as another process has it."""
    other = Database(database.path, busy_s=0.05)
    yield other
    other.close()


def put(database: Database, value: object) -> None:
    with database.transaction() as connection:
        connection.execute("INSERT INTO kept VALUES (?)", (value,))


def kept(database: Database) -> list[object]:
    return [value for (value,) in database.read("SELECT value FROM kept ORDER BY rowid")]


def in_thread(call: Callable[[], object]) -> object:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


# transactions


def test_a_transaction_is_seen_when_it_is_over_and_not_before(database: Database, elsewhere: Database) -> None:
    with database.transaction() as connection:
        connection.execute("INSERT INTO kept VALUES (1)")
        assert kept(database) == [1]
        assert kept(elsewhere) == []
    assert kept(elsewhere) == [1]


def test_a_transaction_that_fails_leaves_nothing(database: Database, elsewhere: Database) -> None:
    def fail() -> None:
        with database.transaction() as connection:
            connection.execute("INSERT INTO kept VALUES (1)")
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert kept(database) == kept(elsewhere) == []
    put(elsewhere, 2)
    assert kept(database) == [2]


def test_an_inner_transaction_joins_the_outer_one(database: Database, elsewhere: Database) -> None:
    with database.transaction():
        put(database, 1)
        with database.transaction():
            put(database, 2)
        assert kept(database) == [1, 2]
        assert kept(elsewhere) == []
    assert kept(elsewhere) == [1, 2]


def test_an_outer_transaction_that_fails_takes_the_inner_one_along(database: Database, elsewhere: Database) -> None:
    def fail() -> None:
        with database.transaction():
            put(database, 1)
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert kept(elsewhere) == []


def test_an_inner_transaction_that_fails_undoes_itself_only(database: Database, elsewhere: Database) -> None:
    with database.transaction():
        put(database, 1)
        with suppress(KeyError), database.transaction():
            put(database, 2)
            put(database, 3)
            raise KeyError
        put(database, 4)

    assert kept(elsewhere) == [1, 4]


def test_a_statement_that_fails_in_an_inner_transaction_undoes_that_one(database: Database) -> None:
    def fail() -> None:
        with database.transaction() as connection:
            connection.execute("INSERT INTO kept VALUES (2)")
            connection.execute("INSERT INTO nowhere VALUES (3)")

    with database.transaction():
        put(database, 1)
        with pytest.raises(apsw.SQLError):
            fail()

    assert kept(database) == [1]


def test_threads_have_transactions_of_their_own(database: Database) -> None:
    def increase() -> None:
        for _ in range(25):
            with database.transaction() as connection:
                ((value,),) = connection.execute("SELECT coalesce(max(value), 0) FROM kept").fetchall()
                connection.execute("INSERT INTO kept VALUES (? + 1)", (value,))

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(increase) for _ in range(4)]:
            future.result()

    assert kept(database) == list(range(1, 101))


def test_a_snapshot_sees_one_moment(database: Database, elsewhere: Database) -> None:
    put(database, 1)

    with database.snapshot():
        assert kept(database) == [1]
        put(elsewhere, 2)
        assert kept(database) == [1]
    assert kept(database) == [1, 2]


def test_a_snapshot_within_a_transaction_sees_what_that_has_written(database: Database) -> None:
    with database.transaction():
        put(database, 1)
        with database.snapshot() as connection:
            assert connection.execute("SELECT value FROM kept").fetchall() == [(1,)]
        put(database, 2)

    assert kept(database) == [1, 2]


def test_the_outermost_transaction_decides_how_durable_it_is(database: Database) -> None:
    def synchronous() -> object:
        return database.read("PRAGMA synchronous")[0][0]

    full, normal = 2, 1
    with database.transaction(Durability.NORMAL):
        assert synchronous() == normal
        with database.transaction(Durability.FULL):
            assert synchronous() == normal
    with database.transaction():
        assert synchronous() == full


# turns


def test_nobody_overtakes_who_waits_at_the_front(database: Database) -> None:
    waiting = Database(database.path, busy_s=60)
    waiter = threading.Thread(target=put, args=(waiting, "waited"))
    with database.transaction() as connection:
        connection.execute("INSERT INTO kept VALUES ('first')")
        waiter.start()
        await_a_waiter(database.path)
    # Whoever has just written comes back at once, and has to stand behind the one that waits already.
    put(database, "again")
    waiter.join()
    waiting.close()

    assert kept(database) == ["first", "waited", "again"]


def await_a_waiter(path: Path) -> None:
    """Return when somebody stands at the front of the queue."""
    front = os.open(f"{path}-queue0", os.O_RDWR)
    try:
        while True:
            try:
                fcntl.flock(front, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            fcntl.flock(front, fcntl.LOCK_UN)
    finally:
        os.close(front)


def test_who_gets_no_turn_is_told_and_has_begun_nothing(database: Database, elsewhere: Database) -> None:
    with database.transaction(), pytest.raises(apsw.BusyError, match="another process writes for too long"):
        put(elsewhere, 1)
    put(elsewhere, 2)

    assert kept(database) == [2]


def test_a_writer_that_does_not_queue_is_waited_for_too(database: Database, elsewhere: Database) -> None:
    stranger = apsw.Connection(str(database.path))
    stranger.execute("BEGIN IMMEDIATE")
    with pytest.raises(apsw.BusyError):
        put(elsewhere, 1)
    stranger.execute("COMMIT")
    put(elsewhere, 2)

    assert kept(database) == [2]


def test_the_turn_is_given_back_when_a_transaction_fails(database: Database, elsewhere: Database) -> None:
    with suppress(KeyError), database.transaction():
        raise KeyError
    with suppress(apsw.SQLError), database.transaction() as connection:
        connection.execute("no SQL")
    put(elsewhere, 1)

    assert kept(database) == [1]


PROLOGUE = """
import os, signal, sys
from pathlib import Path
from undrift.adapters.sqlite import Database
database = Database(Path(sys.argv[1]), busy_s=60)
def put(value):
    with database.transaction() as connection:
        connection.execute("INSERT INTO kept VALUES (?)", (value,))
"""


def started(script: str, path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", PROLOGUE + script, str(path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_processes_do_not_lose_each_others_updates(database: Database) -> None:
    script = """
for _ in range(40):
    with database.transaction() as connection:
        ((value,),) = connection.execute("SELECT coalesce(max(value), 0) FROM kept").fetchall()
        connection.execute("INSERT INTO kept VALUES (? + 1)", (value,))
"""
    processes = [started(script, database.path) for _ in range(3)]
    for process in processes:
        process.communicate()

    assert [process.returncode for process in processes] == [0, 0, 0]
    assert kept(database) == list(range(1, 121))


def test_a_file_can_be_opened_first_by_several_processes_at_once(path: Path) -> None:
    script = """
sys.stdin.readline()
with database.transaction() as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS kept (value)")
put(os.getpid())
"""
    processes = [started(script, path) for _ in range(4)]
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()

    database = Database(path)
    assert sorted(kept(database)) == sorted(process.pid for process in processes)  # type: ignore[type-var]
    database.close()


# forks


def test_a_child_has_connections_of_its_own(database: Database) -> None:
    script = """
put("parent")
parents = database.connection()
child = os.fork()
if child == 0:
    put("child")
    os._exit(0 if database.connection() is not parents else 1)
assert os.waitpid(child, 0)[1] == 0
assert database.connection() is parents
put("parent again")
"""
    process = started(script, database.path)
    process.communicate()

    assert process.returncode == 0
    assert kept(database) == ["parent", "child", "parent again"]
    assert database.read("PRAGMA integrity_check") == [("ok",)]


def test_a_child_cannot_commit_a_transaction_of_its_parent(database: Database) -> None:
    script = """
import apsw
child = None
try:
    with database.transaction() as connection:
        connection.execute("INSERT INTO kept VALUES ('parent')")
        child = os.fork()
except apsw.ForkingViolationError:
    assert child == 0
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""
    process = started(script, database.path)
    process.communicate()

    assert process.returncode == 0
    assert kept(database) == ["parent"]


def test_a_child_does_not_keep_the_turn_of_a_parent_that_was_killed(database: Database) -> None:
    script = """
with database.transaction() as connection:
    connection.execute("INSERT INTO kept VALUES ('never')")
    if os.fork() == 0:
        print("forked", os.getpid(), flush=True)
        sys.stdin.readline()
        os._exit(0)
    signal.pause()
"""
    process = started(script, database.path)
    assert process.stdout
    assert process.stdin
    child = int(process.stdout.readline().split()[1])
    try:
        process.kill()
        process.wait()
        put(database, "after")
        assert kept(database) == ["after"]
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate()


# connections


def test_close_closes_the_connections_of_every_thread(database: Database) -> None:
    inside, over = threading.Event(), threading.Event()
    found: list[apsw.Connection] = []

    def hold() -> None:
        found.append(database.connection())
        inside.set()
        over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    mine = database.connection()

    database.close()
    database.close()
    over.set()
    thread.join()

    for connection in (mine, *found):
        with pytest.raises(apsw.ConnectionClosedError):
            connection.execute("SELECT 1")
    put(database, 1)
    assert kept(database) == [1]


def test_close_leaves_a_transaction_of_another_thread_alone(database: Database) -> None:
    inside, over = threading.Event(), threading.Event()

    def write() -> None:
        with database.transaction() as connection:
            connection.execute("INSERT INTO kept VALUES (1)")
            inside.set()
            over.wait()
            connection.execute("INSERT INTO kept VALUES (2)")

    thread = threading.Thread(target=write)
    thread.start()
    inside.wait()
    database.close()
    over.set()
    thread.join()

    assert kept(database) == [1, 2]


def test_close_within_a_transaction_leaves_it_alone(database: Database, elsewhere: Database) -> None:
    with database.transaction() as connection:
        connection.execute("INSERT INTO kept VALUES (1)")
        database.close()
        put(database, 2)
    before = connection
    put(database, 3)

    assert kept(elsewhere) == [1, 2, 3]
    assert database.connection() is not before


def test_connections_of_threads_that_are_over_are_closed(database: Database) -> None:
    used = [in_thread(database.connection) for _ in range(5)]

    in_thread(lambda: kept(database))

    for connection in used:
        assert isinstance(connection, apsw.Connection)
        with pytest.raises(apsw.ConnectionClosedError):
            connection.execute("SELECT 1")
    assert kept(database) == []


def test_what_is_to_be_prepared_is_prepared_on_every_connection(path: Path) -> None:
    prepared: list[tuple[str, apsw.Connection]] = []
    database = Database(path, prepare=lambda connection: prepared.append(("first", connection)))
    before = database.connection()

    database.also_prepare(lambda connection: prepared.append(("second", connection)))
    mine, theirs = database.connection(), in_thread(database.connection)

    assert prepared == [("first", before), *((name, one) for one in (mine, theirs) for name in ("first", "second"))]
    with pytest.raises(apsw.ConnectionClosedError):
        before.execute("SELECT 1")
    database.close()


def test_what_is_to_be_prepared_waits_until_a_transaction_is_over(database: Database, elsewhere: Database) -> None:
    prepared: list[apsw.Connection] = []
    with database.transaction():
        put(database, 1)
        database.also_prepare(prepared.append)
        put(database, 2)
        assert prepared == []
    assert kept(elsewhere) == [1, 2]

    assert database.connection() in prepared


def test_a_preparation_that_fails_is_raised_and_tried_again(path: Path) -> None:
    tried: list[apsw.Connection] = []

    def prepare(connection: apsw.Connection) -> None:
        tried.append(connection)
        if len(tried) == 1:
            raise LedgerUnusable("not this one")

    database = Database(path, prepare=prepare)
    with pytest.raises(LedgerUnusable):
        database.connection()

    assert database.connection() is tried[1]
    with pytest.raises(apsw.ConnectionClosedError):
        tried[0].execute("SELECT 1")
    database.close()


def test_a_preparation_that_another_process_is_in_the_way_of_waits_for_it(path: Path) -> None:
    tried: list[apsw.Connection] = []

    def prepare(connection: apsw.Connection) -> None:
        tried.append(connection)
        if len(tried) < 3:
            raise apsw.BusyError("database is locked")

    database = Database(path, prepare=prepare)

    assert database.connection() is tried[2]
    database.close()


# files that are not as they should be


@pytest.mark.parametrize("act", [put, lambda database, _: kept(database)], ids=["write", "read"])
@pytest.mark.parametrize("fate", ["deleted", "replaced", "moved with its directory"])
def test_a_file_that_is_gone_is_not_written_any_more(
    database: Database, path: Path, act: Callable[[Database, object], object], fate: str
) -> None:
    put(database, 1)
    match fate:
        case "deleted":
            path.unlink()
        case "replaced":
            newer = path.with_suffix(".new")
            newer.write_bytes(path.read_bytes())
            newer.replace(path)
        case _:
            path.parent.rename(path.parent.with_suffix(".moved"))

    for _ in range(2):
        with pytest.raises(apsw.ReadOnlyError):
            act(database, 2)
    with pytest.raises(StoreUnavailable, match=r"deleted or replaced") as refused, translating(path, Owner.STORE):
        act(database, 2)
    assert str(path) in refused.value.message
    assert refused.value.hint


def test_a_file_that_goes_during_a_transaction_is_not_acknowledged(database: Database, path: Path) -> None:
    def write() -> None:
        with database.transaction() as connection:
            connection.execute("INSERT INTO kept VALUES (1)")
            path.unlink()

    with pytest.raises(apsw.ReadOnlyError):
        write()


def test_after_close_the_file_that_is_there_is_opened(database: Database, path: Path) -> None:
    put(database, 1)
    path.unlink()
    Path(f"{path}-wal").unlink()
    Path(f"{path}-shm").unlink()
    with pytest.raises(apsw.ReadOnlyError):
        kept(database)

    database.close()

    assert database.read("SELECT name FROM sqlite_schema") == []


def test_a_file_in_a_directory_that_is_not_there_cannot_be_opened(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "file.db"
    database = Database(missing)

    with pytest.raises(StoreUnavailable, match="cannot be opened") as refused, translating(missing, Owner.STORE):
        database.connection()

    assert str(missing.parent) in refused.value.hint
    missing.parent.mkdir()
    assert database.read("SELECT 1") == [(1,)]
    database.close()


def test_a_file_is_not_made_when_it_has_to_be_there(path: Path) -> None:
    with pytest.raises(apsw.CantOpenError):
        Database(path, create=False).connection()

    assert not path.exists()


@pytest.mark.parametrize(
    "content",
    [b"no database, but a text of some length " * 200, b"SQLite format 3\x00" + b"\x07" * 8000],
    ids=["a text", "a torn header"],
)
def test_a_damaged_file_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    with pytest.raises(LedgerUnusable, match="damaged") as refused, translating(path, Owner.LEDGER):
        Database(path).read("SELECT * FROM sqlite_schema")

    assert f"mv {path}" in refused.value.hint
    assert path.read_bytes() == content


def test_a_full_disk_leaves_nothing_half_written(database: Database, elsewhere: Database) -> None:
    put(database, 1)
    database.also_prepare(lambda connection: connection.execute("PRAGMA max_page_count=10"))  # type: ignore[arg-type]

    def overflow() -> None:
        with database.transaction() as connection:
            connection.execute("INSERT INTO kept VALUES (2)")
            connection.execute("INSERT INTO kept VALUES (zeroblob(1000000))")

    with pytest.raises(apsw.FullError):
        overflow()
    assert kept(database) == kept(elsewhere) == [1]

    with pytest.raises(StoreRejected, match="disk is full"), translating(database.path, Owner.STORE):
        put(database, b"x" * 1_000_000)
    put(database, 3)
    assert kept(elsewhere) == [1, 3]


def test_a_full_disk_in_an_inner_transaction_takes_the_outer_one_along(database: Database, elsewhere: Database) -> None:
    database.also_prepare(lambda connection: connection.execute("PRAGMA max_page_count=10"))  # type: ignore[arg-type]

    def overflow() -> None:
        with database.transaction() as connection:
            put(database, 1)
            with suppress(apsw.FullError):
                put(database, b"x" * 1_000_000)
            # SQLite has rolled back all of it: what follows must not be committed by itself.
            connection.execute("INSERT INTO kept VALUES (2)")
            with pytest.raises(apsw.AbortError):
                put(database, 3)

    with pytest.raises(apsw.AbortError, match="took all of it along"):
        overflow()

    assert kept(elsewhere) == []
    put(database, 4)
    assert kept(elsewhere) == [4]


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A directory of somebody to whom permissions apply, which they do not to root."""
    with tempfile.TemporaryDirectory() as directory:
        if os.geteuid() != 0:
            yield Path(directory)
            return
        nobody = 65534
        os.chown(directory, nobody, nobody)
        os.seteuid(nobody)
        try:
            yield Path(directory)
        finally:
            os.seteuid(0)


@pytest.mark.parametrize("what", ["file", "directory"])
def test_what_is_read_only_is_not_written(unprivileged: Path, what: str) -> None:
    path = unprivileged / "data" / "file.db"
    path.parent.mkdir()
    database = Database(path)
    with database.transaction() as connection:
        connection.execute("CREATE TABLE kept (value)")
    database.close()
    target = path if what == "file" else path.parent
    target.chmod(0o444 if what == "file" else 0o555)
    if what == "directory":
        path.chmod(0o444)

    try:
        with pytest.raises(UndriftError) as refused, translating(path, Owner.STORE):
            put(database, 1)
    finally:
        path.parent.chmod(0o755)
        path.chmod(0o644)

    assert isinstance(refused.value, StoreRejected | StoreUnavailable)
    assert str(path.parent) in refused.value.hint
    database.close()
    assert kept(database) == []
    database.close()


# network filesystems

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/export /mnt/nfs nfs4 rw 0 0
//server/share /mnt/with\\040space cifs rw 0 0
host /mnt/nfs/local tmpfs rw 0 0
me@host: /home/me/far fuse.sshfs rw 0 0
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    table = tmp_path / "mounts"
    table.write_text(MOUNTS)
    return table


@pytest.mark.parametrize(
    ("where", "kind"),
    [
        ("/data/file.db", "ext4"),
        ("/mnt/nfs/file.db", "nfs4"),
        ("/mnt/nfs/deep/down/file.db", "nfs4"),
        ("/mnt/nfs/local/file.db", "tmpfs"),
        ("/mnt/nfsx/file.db", "ext4"),
        ("/mnt/with space/file.db", "cifs"),
        ("/home/me/far/file.db", "fuse.sshfs"),
    ],
)
def test_the_filesystem_of_a_file_is_that_of_the_nearest_mount(mounts: Path, where: str, kind: str) -> None:
    assert filesystem_of(Path(where), mounts) == kind


def test_a_network_filesystem_is_refused(mounts: Path) -> None:
    refuse_network_filesystem(Path("/data/file.db"), mounts)
    refuse_network_filesystem(Path("/mnt/nfs/local/file.db"), mounts)
    with pytest.raises(LedgerUnusable, match=r"/mnt/nfs/file\.db is on a network filesystem \(nfs4\)"):
        refuse_network_filesystem(Path("/mnt/nfs/file.db"), mounts)


def test_where_the_system_does_not_say_nothing_is_refused(tmp_path: Path) -> None:
    refuse_network_filesystem(tmp_path / "file.db", tmp_path / "no such table")


def test_no_file_is_opened_on_a_network_filesystem(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise LedgerUnusable(f"{path} is on a network filesystem")

    monkeypatch.setattr("undrift.adapters.sqlite.database.refuse_network_filesystem", refuse)

    with pytest.raises(LedgerUnusable):
        Database(path).connection()
    assert not path.exists()


# what failures are called


@pytest.mark.parametrize(
    ("error", "ledger", "store"),
    [
        (apsw.FullError("full"), ControlUnavailable, StoreFull),
        (apsw.ReadOnlyError("read-only"), ControlUnavailable, StoreRejected),
        (apsw.PermissionsError("permission"), ControlUnavailable, StoreRejected),
        (apsw.CantOpenError("cannot"), ControlUnavailable, StoreUnavailable),
        (apsw.exception_for(apsw.SQLITE_READONLY_DBMOVED), ControlUnavailable, StoreUnavailable),
        (apsw.BusyError("busy"), ControlUnavailable, StoreUnavailable),
        (apsw.LockedError("locked"), ControlUnavailable, StoreUnavailable),
        (apsw.IOError("disk"), ControlUnavailable, StoreUnavailable),
        (apsw.SQLError("what"), ControlUnavailable, StoreUnavailable),
        (apsw.TooBigError("big"), ControlUnavailable, StoreRejected),
        (apsw.ConstraintError("check"), ControlUnavailable, StoreRejected),
        (apsw.CorruptError("torn"), LedgerUnusable, StoreUnusable),
        (apsw.NotADBError("text"), LedgerUnusable, StoreUnusable),
    ],
)
def test_a_failure_is_called_by_who_has_to_act(
    error: apsw.Error, ledger: type[UndriftError], store: type[UndriftError]
) -> None:
    path = Path("/data/file.db")

    for owner, kind in ((Owner.LEDGER, ledger), (Owner.STORE, store)):
        translated = translate(error, path, owner)
        assert type(translated) is kind
        assert str(path) in translated.message
        assert translated.hint
        with pytest.raises(kind) as raised, translating(path, owner):
            raise error
        assert raised.value.__cause__ is error


def test_the_sqlite_in_use_is_one_that_processes_can_share(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sqlite_is_safe()
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")
    assert not sqlite_is_safe()
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.100.0")
    assert sqlite_is_safe()
