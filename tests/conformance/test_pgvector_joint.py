"""Ledger and vectors in one PostgreSQL database: a journaled write is one transaction, whatever happens in it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("psycopg")

import undrift
from tests.conformance.pgvector_door import SCHEMA, store_url
from tests.conformance.postgres_server import PostgresServer
from undrift import Document
from undrift.adapters.clock import SystemClock
from undrift.adapters.ledgers.postgres import PostgresLedger
from undrift.adapters.postgres import Database, address_from
from undrift.adapters.stores.pgvector import PgVectorStore
from undrift.control import ControlPlane
from undrift.domain.migration import Phase
from undrift.domain.operation import Opened
from undrift.domain.record import DocumentId
from undrift.domain.space import Metric
from undrift.errors import CollectionMissing, ControlUnavailable, OutcomeUnknown, StoreRejected, TransactionUndone
from undrift.testing.ledgers.bench import ALIAS, ME, SOURCE, begin, ids
from undrift.testing.stores.samples import assert_same, faulty_vector, record, records, unit_vectors

pytestmark = pytest.mark.servers

DATABASE = "joint"
D = 8
_CONFIG = """
ledger = "{ledger}"
[stores.main]
url = "{store}"
[models.old]
provider = "hashing"
dimensions = 32
[models.new]
provider = "hashing"
dimensions = 48
"""


class Together:
    """A ledger and a store in one database, and a look at it from outside."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.database = Database(address_from(server.url(DATABASE)))
        self.ledger = PostgresLedger(self.database, SystemClock())
        self.store = PgVectorStore(self.database)
        begin(self.ledger)
        self.store.create(SOURCE, dimensions=D, metric=Metric.COSINE)

    def joint(self) -> AbstractContextManager[None]:
        found = self.ledger.transaction_with(self.store)
        assert found is not None
        return found

    def open(self, *keys: str) -> Opened:
        opened = self.ledger.open(ALIAS, ids(*keys), client=ME, deadline_s=30.0)
        assert isinstance(opened, Opened)
        return opened

    def write(self, *keys: str) -> None:
        with self.joint():
            operation = self.open(*keys).operation
            self.store.upsert(SOURCE, records(keys, D))
            assert self.ledger.close(ALIAS, operation, ids(*keys))

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        return self.server.sql(statement, DATABASE)

    def seen(self) -> tuple[int, int, int]:
        """Return how many vectors, marks and open operations everybody else sees."""
        ((vectors, marks, operations),) = self.sql(
            f'SELECT (SELECT count(*) FROM {SCHEMA}."{SOURCE.collection}"), (SELECT count(*) FROM undrift.dirty), '
            "(SELECT count(*) FROM undrift.op)"
        )
        return vectors, marks, operations

    @contextmanager
    def trigger(self, body: str, *, deferred: bool = False) -> Iterator[None]:
        """Something that happens when a vector is inserted, or at the end of the transaction in which it is."""
        table = f'{SCHEMA}."{SOURCE.collection}"'
        kind, when = ("CONSTRAINT TRIGGER", "DEFERRABLE INITIALLY DEFERRED") if deferred else ("TRIGGER", "")
        self.sql(
            "CREATE SEQUENCE public.turns; "
            f"CREATE FUNCTION public.act() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {body}; RETURN NULL; END$$; "
            f"CREATE {kind} act AFTER INSERT ON {table} {when} FOR EACH ROW EXECUTE FUNCTION public.act()"
        )
        try:
            yield
        finally:
            self.sql(f"DROP TRIGGER act ON {table}; DROP FUNCTION public.act; DROP SEQUENCE public.turns")


@pytest.fixture
def place(server: PostgresServer) -> Iterator[PostgresServer]:
    server.sql(f"CREATE DATABASE {DATABASE}")
    yield server
    server.sql(f"DROP DATABASE {DATABASE} WITH (FORCE)")


@pytest.fixture
def together(place: PostgresServer) -> Iterator[Together]:
    made = Together(place)
    yield made
    made.ledger.close_ledger()


def test_they_commit_together(together: Together) -> None:
    with together.joint():
        operation = together.open("a", "b").operation
        together.store.upsert(SOURCE, records(["a", "b"], D))
        assert set(together.store.fetch(SOURCE, ids("a", "b"))) == {"a", "b"}
        assert together.ledger.close(ALIAS, operation, ids("a", "b"))
        assert together.seen() == (0, 0, 0)

    assert together.seen() == (2, 2, 0)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_they_are_undone_together(together: Together, error: type[BaseException]) -> None:
    with pytest.raises(error), together.joint():
        together.open("a")
        together.store.upsert(SOURCE, records(["a"], D))
        raise error

    assert together.seen() == (0, 0, 0)
    together.write("a")
    assert together.seen() == (1, 1, 0)


def test_a_write_that_is_refused_takes_its_mark_back(together: Together) -> None:
    bad = record("bad", faulty_vector("too long", D))
    for error, call in (
        (StoreRejected, lambda: together.store.upsert(SOURCE, [bad])),
        (CollectionMissing, lambda: together.store.upsert(SOURCE, records(["a"], D))),
    ):
        if error is CollectionMissing:
            together.write("known")
            together.sql(f'DROP TABLE {SCHEMA}."{SOURCE.collection}"')
        with pytest.raises(error), together.joint():
            together.open("bad")
            call()
        assert together.sql("SELECT count(*) FROM undrift.op") == [(0,)]
        assert together.sql("SELECT count(*) FROM undrift.dirty WHERE key = 'bad'") == [(0,)]


def test_a_failure_that_was_overlooked_commits_nothing(together: Together) -> None:
    together.store.count(SOURCE)
    with pytest.raises(ControlUnavailable, match="took all of it along"), together.joint():
        together.open("a")
        with together.trigger("RAISE EXCEPTION 'no'"), pytest.raises(Exception, match="no"):
            together.store.upsert(SOURCE, records(["a"], D))

    assert together.seen() == (0, 0, 0)


def test_a_store_elsewhere_shares_no_transaction(together: Together, place: PostgresServer) -> None:
    assert together.ledger.transaction_with(PgVectorStore(store_url(place, DATABASE))) is None
    assert together.ledger.transaction_with(object()) is None


def test_other_threads_are_not_in_the_transaction(together: Together) -> None:
    with ThreadPoolExecutor(1) as pool, together.joint():
        together.open("a")
        together.store.upsert(SOURCE, records(["a"], D))
        assert pool.submit(together.store.count, SOURCE).result() == 0
        assert together.store.count(SOURCE) == 1


def test_an_end_without_an_answer_is_unknown(together: Together) -> None:
    away = "PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(5)"
    with together.trigger(away, deferred=True), pytest.raises(OutcomeUnknown, match="committed is not known"):
        together.write("a")

    together.write("a")
    assert together.seen() == (1, 1, 0)


def test_what_gave_way_to_another_one_says_that_it_can_be_begun_again(together: Together) -> None:
    make_way = "RAISE EXCEPTION 'make way' USING ERRCODE = '40P01'"
    for deferred in (False, True):
        with together.trigger(make_way, deferred=deferred), pytest.raises(TransactionUndone):
            together.write("a")

    assert together.seen() == (0, 0, 0)


# The same through an alias


@pytest.fixture
def plane(place: PostgresServer, tmp_path: Path) -> Iterator[ControlPlane]:
    text = _CONFIG.format(ledger=place.url(DATABASE), store=store_url(place, DATABASE))
    (tmp_path / "undrift.toml").write_text(text, encoding="utf-8")
    opened = undrift.open(tmp_path / "undrift.toml")
    opened.create_alias("kb", store="main", collection="kb", model="old")
    opened.alias("kb").upsert([Document(id=f"d{number}", text=f"document {number}") for number in range(5)])
    opened.register("kb", "new")
    opened.work("kb", lambda migration: migration.phase is Phase.READY)
    yield opened
    opened.close()


def test_a_write_is_one_transaction_while_a_migration_runs(plane: ControlPlane, place: PostgresServer) -> None:
    """Noted by triggers: a row's own `xmin` is that of a subtransaction, in which `undrift.open_journaled` marks."""
    place.sql(
        "CREATE TABLE public.noted (place text, number xid8); "
        "CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
        "INSERT INTO public.noted VALUES (TG_TABLE_NAME, pg_current_xact_id()); RETURN NULL; END$$; "
        f"CREATE TRIGGER note AFTER INSERT OR UPDATE ON {SCHEMA}.kb FOR EACH ROW EXECUTE FUNCTION public.note(); "
        "CREATE TRIGGER note AFTER INSERT OR UPDATE ON undrift.dirty FOR EACH ROW EXECUTE FUNCTION public.note()",
        DATABASE,
    )
    plane.alias("kb").upsert([Document(id="d1", text="another text")])

    noted = place.sql("SELECT place, number::text FROM public.noted", DATABASE)
    assert {place for place, _ in noted} == {"kb", "dirty"}
    assert len({number for _, number in noted}) == 1
    ((sequence, tag),) = place.sql(
        f"SELECT d.seq, k.sequence FROM {SCHEMA}.kb AS k JOIN undrift.dirty AS d ON d.key = k.id WHERE k.id = 'd1'",
        DATABASE,
    )
    assert sequence == tag
    assert place.sql("SELECT count(*) FROM undrift.op", DATABASE) == [(0,)]


def test_a_write_that_gave_way_is_begun_again(plane: ControlPlane, place: PostgresServer) -> None:
    place.sql(
        "CREATE SEQUENCE public.turns; CREATE FUNCTION public.act() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
        "IF nextval('public.turns') < 3 THEN RAISE EXCEPTION 'make way' USING ERRCODE = '40P01'; END IF; "
        "RETURN NULL; END$$; "
        f"CREATE TRIGGER act AFTER INSERT ON {SCHEMA}.kb FOR EACH ROW EXECUTE FUNCTION public.act()",
        DATABASE,
    )

    assert plane.alias("kb").upsert([Document(id="new", text="a text")]).ids == ("new",)

    assert place.sql("SELECT last_value FROM public.turns", DATABASE) == [(3,)]
    assert plane.ledger.lag(plane.alias("kb").route().alias).dirty == 1


_WRITER = """
import undrift
from undrift import Document
plane = undrift.open("undrift.toml")
kb = plane.alias("kb")
kb.upsert([Document(id="d0", text="quick")])
print("ready", flush=True)
kb.upsert([Document(id="d1", text="another text"), Document(id="slow", text="slow")])
"""


def test_a_writer_that_is_killed_in_the_middle_leaves_nothing_of_its_write(
    plane: ControlPlane, place: PostgresServer, tmp_path: Path
) -> None:
    """No vector, no mark, and no operation that somebody would have to wait for."""
    place.sql(
        "CREATE FUNCTION public.act() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN IF NEW.id = 'slow' THEN PERFORM pg_sleep(1.5); END IF; RETURN NULL; END$$; "
        f"CREATE TRIGGER act AFTER INSERT ON {SCHEMA}.kb FOR EACH ROW EXECUTE FUNCTION public.act()",
        DATABASE,
    )
    (before,) = plane.alias("kb").get(["d1"])
    writer = subprocess.Popen([sys.executable, "-c", _WRITER], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    sleeping = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    while not place.sql(sleeping, DATABASE):
        time.sleep(0.01)

    writer.kill()
    writer.communicate()
    while place.sql(sleeping, DATABASE):
        time.sleep(0.02)

    kb = plane.alias("kb")
    assert kb.get(["d1", "slow"]) == [before]
    assert place.sql("SELECT count(*) FROM undrift.op", DATABASE) == [(0,)]
    assert place.sql("SELECT count(*) FROM undrift.dirty WHERE key IN ('d1', 'slow')", DATABASE) == [(0,)]
    kb.upsert([Document(id="d1", text="and on it goes")])


def test_the_writes_of_many_threads_are_all_there_and_all_carried_over(plane: ControlPlane) -> None:
    kb = plane.alias("kb")

    def write(part: int) -> None:
        for turn in range(12):
            shared = [f"d{(part + turn) % 5}", f"d{(part * turn) % 5}"]
            kb.upsert([Document(id=id, text=f"{id} by {part} in turn {turn}") for id in dict.fromkeys(shared)])
            kb.upsert([Document(id=f"own-{part}-{turn}", text=f"own {turn}")])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))

    name = kb.route().alias
    plane.work("kb", lambda _: plane.ledger.lag(name).dirty == 0)
    assert plane.verify("kb")["verdict"] == "pass"
    assert kb.count() == 5 + 6 * 12
    assert plane.ledger.lag(name).open == 0


def test_a_record_of_a_joint_write_is_what_was_written(together: Together) -> None:
    written = record("a", unit_vectors(1, D)[0], metadata={"n": 1}, sequence=3)
    with together.joint():
        operation = together.open("a").operation
        together.store.upsert(SOURCE, [written])
        together.store.merge_metadata(SOURCE, {written.id: {"late": True}}, sequence=4)
        together.store.delete(SOURCE, [DocumentId("nobody")])
        assert together.store.search(SOURCE, written.vector, k=1)[0].metadata == {"n": 1, "late": True}
        together.ledger.close(ALIAS, operation, ids("a"))

    wanted = record("a", written.vector, metadata={"n": 1, "late": True}, sequence=4)
    assert_same(together.store.fetch(SOURCE, [written.id])[written.id], wanted)
