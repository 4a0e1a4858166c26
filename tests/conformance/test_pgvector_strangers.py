"""Whoever writes to a collection in pgvector with plain SQL is found, and nothing of it is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("psycopg")

import undrift
from tests.conformance.pgvector_door import SCHEMA, store_url
from tests.conformance.postgres_server import PostgresServer
from undrift import Document
from undrift.control import ControlPlane
from undrift.domain.migration import Phase
from undrift.domain.reconcile import FOREIGN_WRITE
from undrift.domain.route import AliasName, VectorField

pytestmark = pytest.mark.servers

_CONFIG = """
ledger = "{ledger}"
[stores.main]
url = "{store}"
[models.old]
provider = "hashing"
dimensions = 16
[models.new]
provider = "hashing"
dimensions = 24
[aliases.kb]
store = "main"
model = "old"
[timing]
poll_s = 0.05
"""


@pytest.fixture
def plane(server: PostgresServer, tmp_path: Path) -> Iterator[ControlPlane]:
    """A migration of a dozen documents that is ready, with ledger and vectors in one database."""
    server.sql("CREATE DATABASE strangers")
    path = tmp_path / "undrift.toml"
    url = store_url(server, "strangers")
    path.write_text(_CONFIG.format(ledger=server.url("strangers"), store=url), encoding="utf-8")
    with undrift.open(path) as opened:
        opened.alias("kb").upsert([Document(id=f"d{number:02d}", text=f"text {number}") for number in range(12)])
        opened.register("kb", "new")
        opened.work("kb", lambda migration: migration is not None and migration.phase is Phase.READY)
        yield opened
    server.sql("DROP DATABASE strangers WITH (FORCE)")


def texts(plane: ControlPlane, place: VectorField) -> dict[str, str]:
    store = plane.store_of(place)
    return {str(id): record.text for id, record in store.fetch(place, store.ids(place, limit=99)).items()}


def test_what_plain_sql_changes_in_either_field_is_found_and_settled(
    plane: ControlPlane, server: PostgresServer
) -> None:
    route = plane.router.join(AliasName("kb"))
    assert route.follower is not None
    old, new = route.serving, route.follower
    server.sql(f"""UPDATE "{SCHEMA}"."{old.collection}" SET text = 'another text' WHERE id = 'd03'""", "strangers")
    server.sql(f"""DELETE FROM "{SCHEMA}"."{old.collection}" WHERE id = 'd07'""", "strangers")
    truth = texts(plane, old)

    found = plane.reconcile("kb")

    assert [scan["kinds"] for scan in found["scans"]] == [{"stale_text": 1, "extra": 1}, {}]
    assert found["verdict"] == "pass"
    assert texts(plane, new) == truth
    assert plane.verify("kb")["verdict"] == "pass"
    assert plane.cutover("kb")["phase"] == "reversing"

    server.sql(f"""UPDATE "{SCHEMA}"."{old.collection}" SET text = 'too late' WHERE id = 'd05'""", "strangers")
    assert plane.reconcile("kb")["held"] == 1
    assert [one.reason for one in plane.ledger.quarantined(AliasName("kb"))] == [FOREIGN_WRITE]
    assert texts(plane, old)["d05"] == "too late"
    assert plane.adopt("kb", ["d05"])["adopted"] == ["d05"]
    assert texts(plane, new)["d05"] == "too late"
    assert plane.reconcile("kb", scans=3)["verdict"] == "pass"
