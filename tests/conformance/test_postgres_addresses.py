"""What is wrong with a PostgreSQL ledger's address or server is said in one error that shows no password."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("psycopg")

import undrift
from tests.conformance.postgres_ledger import REAL_TIME, PostgresLedgerBench, open_ledger
from tests.conformance.postgres_server import PASSWORD, USER, PostgresServer, free_port
from undrift.adapters.clock import SystemClock
from undrift.adapters.ledgers.postgres import schema
from undrift.config import Config, Settings
from undrift.domain.route import AliasName
from undrift.errors import BadConfig, ControlUnavailable, UnknownAlias
from undrift.plugins import Plugins
from undrift.testing.ledgers.bench import ME, ids

pytestmark = pytest.mark.servers


@pytest.fixture
def bench(postgres_bench: PostgresLedgerBench) -> PostgresLedgerBench:
    return postgres_bench


def wrong_addresses(server: PostgresServer, folder: Path) -> dict[str, tuple[str, str]]:
    wrong = folder / "passfile"
    wrong.write_text(f"*:*:*:{USER}:not {PASSWORD}\n", encoding="utf-8")
    wrong.chmod(0o600)
    nobody = folder / "nobody"
    nobody.write_text(f"*:*:*:nobody:{PASSWORD}\n", encoding="utf-8")
    nobody.chmod(0o600)
    place = f"{USER}@127.0.0.1:{server.port}"
    return {
        "refused": (f"postgresql://{USER}@127.0.0.1:{free_port()}/kit", "pg_isready -h 127.0.0.1"),
        "wrong password": (f"postgresql://{place}/kit?passfile={wrong}", "PGPASSWORD"),
        "no password": (f"postgresql://{place}/kit?passfile=/dev/null", "PGPASSWORD"),
        "no database": (f"postgresql://{place}/nowhere?passfile={server.passfile}", "create the database"),
        "no user": (f"postgresql://nobody@127.0.0.1:{server.port}/kit?passfile={nobody}", "PGPASSWORD"),
        "no TLS": (f"postgresql://{place}/kit?passfile={server.passfile}&sslmode=require", "turn TLS on at the server"),
        "no host": ("postgresql://host.invalid/kit", "pg_isready -h host.invalid"),
    }


@pytest.mark.parametrize(
    "case", ["refused", "wrong password", "no password", "no database", "no user", "no TLS", "no host"]
)
def test_a_server_that_cannot_be_used_is_named(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    url, hint = wrong_addresses(server, tmp_path)[case]

    with pytest.raises(ControlUnavailable, match="ledger postgresql://") as refused:
        open_ledger(url).aliases()

    assert hint in refused.value.hint
    assert refused.value.detail
    assert PASSWORD not in str(refused.value)


def asked(url: str) -> list[AliasName]:
    """Enter the ledger as any process does, and read."""
    ledger = open_ledger(url)
    try:
        ledger.register_client(ME, host="h", pid=1, role="app", version="1", lease_s=1.0)
        return ledger.aliases()
    finally:
        ledger.close_ledger()


def test_rights_that_are_missing_are_named_with_the_command_that_gives_them(
    server: PostgresServer, tmp_path: Path
) -> None:
    passfile = tmp_path / "plain"
    passfile.write_text(f"*:*:*:plain:{PASSWORD}\n", encoding="utf-8")
    passfile.chmod(0o600)
    server.sql(f"CREATE ROLE plain LOGIN PASSWORD '{PASSWORD}'")
    server.sql("CREATE DATABASE rights")
    url = f"postgresql://plain@127.0.0.1:{server.port}/rights?passfile={passfile}"
    try:
        with pytest.raises(ControlUnavailable) as refused:
            asked(url)
        assert refused.value.hint.startswith("GRANT CREATE ON DATABASE")

        assert asked(server.url("rights")) == []
        with pytest.raises(ControlUnavailable) as refused:
            asked(url)
        for statement in refused.value.hint.replace("ROLE", "plain").split("; "):
            server.sql(statement, "rights")
        assert asked(url) == []
    finally:
        server.sql("DROP DATABASE rights WITH (FORCE)")
        server.sql("DROP ROLE plain")


def plugins(address: str) -> Plugins:
    return Plugins(Config(Settings(ledger=address), Path("undrift.toml")), SystemClock())


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:s3cret@host/db",
        "postgresql://host/db?password=s3cret",
        "postgresql://me:s3cret@host:port/db",
        "postgresql://host/db?pasword=s3cret",
        "postgres://me:s3cret@[host/db",
        "postgresql://me:s3cret/db",
        "postgresql://me:s3c/r@s3cret@host/db",
        "postgresql://me@host:99999/db",
        "postgresql:/me:s3cret@host/db",
        "mysql://me:s3cret@host/db",
        "sqlite://",
    ],
)
def test_a_wrong_address_is_refused_and_never_shows_a_password(address: str) -> None:
    with pytest.raises(BadConfig) as refused:
        plugins(address).ledger()

    assert not re.search("s3c|cret", str(refused.value) + str(refused.value.__cause__))
    assert "@host" not in address or "://" not in address or "@host" in str(refused.value) or "mysql" in address
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    assert refused.value.hint


@pytest.mark.parametrize("scheme", ["postgressql", "postgersql", "postgresql+psycopg", "sqllite"])
def test_a_misspelt_scheme_is_told_what_was_meant(scheme: str) -> None:
    with pytest.raises(BadConfig, match=re.escape(f"at {scheme}:…")) as refused:
        plugins(f"{scheme}://me:s3cret@host/db").ledger()

    assert f"did you mean {'sqlite' if scheme == 'sqllite' else 'postgresql'}://" in refused.value.hint


@pytest.mark.parametrize("option", ["sslmode=sometimes", "connect_timeout=soon"])
def test_an_option_with_a_wrong_value_is_a_wrong_configuration(server: PostgresServer, option: str) -> None:
    with pytest.raises(BadConfig, match="has an option that is none") as refused:
        open_ledger(f"{server.url('kit')}&{option}").aliases()

    assert option.partition("=")[2] in refused.value.detail


def test_an_address_makes_a_ledger_and_is_shown_without_what_is_beside_it(server: PostgresServer) -> None:
    configured = plugins(server.url("kit"))
    ledger = configured.ledger()

    assert ledger.route(AliasName("none")) is None
    assert configured.ledger_place() == f"postgresql://127.0.0.1:{server.port}/kit"
    ledger.close_ledger()


def test_a_user_without_rights_is_told_so(bench: PostgresLedgerBench, tmp_path: Path) -> None:
    passfile = tmp_path / "passfile"
    passfile.write_text("*:*:*:guest:guest\n", encoding="utf-8")
    passfile.chmod(0o600)
    bench.server.sql("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    try:
        url = f"postgresql://guest@127.0.0.1:{bench.server.port}/kit?passfile={passfile}"
        with pytest.raises(ControlUnavailable, match="does not let this user in") as refused:
            open_ledger(url).aliases()
    finally:
        bench.server.sql("DROP ROLE guest")

    assert "GRANT" in refused.value.hint


def test_an_alias_that_is_not_there_is_named(bench: PostgresLedgerBench) -> None:
    with pytest.raises(UnknownAlias, match="no alias my docs"):
        bench.ledger.open(AliasName("my docs"), ids("a"), client=ME, deadline_s=1.0)


# What `undrift doctor` finds


def checks(address: str, folder: Path, store: str = "memory:m") -> dict[str, dict[str, str]]:
    config = folder / "undrift.toml"
    config.write_text(f'ledger = "{address}"\n[stores.main]\nurl = "{store}"\n', encoding="utf-8")
    with undrift.open(config) as plane:
        return {check["check"]: check for check in plane.doctor()}


def bad(found: dict[str, dict[str, str]]) -> set[str]:
    return {name for name, check in found.items() if check["verdict"] != "ok"}


def test_doctor_looks_at_the_ledger_that_is_configured(bench: PostgresLedgerBench, tmp_path: Path) -> None:
    """And not at the library of another one."""
    bench.set_time(REAL_TIME)
    found = checks(bench.url, tmp_path)

    assert "sqlite" not in found
    assert "sqlite" in checks(bench.url, tmp_path, "sqlite-vec:./vectors.db")
    assert f"127.0.0.1:{bench.server.port}/kit, answers in" in found["ledger"]["detail"]
    ((version,),) = bench.sql("SHOW server_version")
    assert found["ledger server"]["detail"] == f"PostgreSQL {version}"
    assert found["ledger transactions"]["detail"] == "READ COMMITTED, direct"
    assert found["ledger schema"]["detail"] == "version {}.{}".format(*schema.STEPS[-1].version)
    # The server of the tests saves itself what makes a power loss harmless.
    assert bad(found) == {"ledger durability"}
    assert "fsync=off" in found["ledger durability"]["detail"]
    assert found["ledger durability"]["hint"] == "ALTER SYSTEM RESET fsync"


@pytest.mark.parametrize(("seconds", "side"), [(3600, "ahead of"), (-60, "behind")])
def test_doctor_says_when_the_clocks_differ(
    bench: PostgresLedgerBench, tmp_path: Path, seconds: int, side: str
) -> None:
    bench.set_time(f"{REAL_TIME} + {seconds}")
    found = checks(bench.url, tmp_path)["ledger clock"]

    assert found["verdict"] == "bad"
    assert side in found["detail"]
    assert abs(seconds) - 5 < float(found["detail"].split()[3]) < abs(seconds) + 5
    assert "NTP" in found["hint"]


def test_doctor_names_tables_of_a_newer_undrift_that_it_may_use(bench: PostgresLedgerBench, tmp_path: Path) -> None:
    major, minor = schema.STEPS[-1].version
    bench.sql("UPDATE undrift.ledger_meta SET value = %s WHERE key = 'minor'", str(minor + 1))
    try:
        found = checks(bench.url, tmp_path)["ledger schema"]
    finally:
        bench.sql("UPDATE undrift.ledger_meta SET value = %s WHERE key = 'minor'", str(minor))

    assert found["verdict"] == "ok"
    assert f"{major}.{minor + 1}, made by a newer undrift; this one knows {major}.{minor}" in found["detail"]


def test_doctor_of_a_server_that_is_away_names_it(server: PostgresServer, tmp_path: Path) -> None:
    found = checks(f"postgresql://{USER}@127.0.0.1:{free_port()}/kit", tmp_path)

    assert "ledger" in bad(found)
    assert "ledger server" not in found
    assert "cannot be reached" in found["ledger"]["detail"]
    assert found["ledger"]["hint"].startswith("pg_isready -h 127.0.0.1")
