"""A comparison that is killed by SIGKILL goes on from its bookmark, and compares one page twice at most."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlite_vec")

import undrift
from tests.faults.stranger import Stranger
from undrift import Document
from undrift.control import ControlPlane
from undrift.domain.migration import Phase
from undrift.domain.route import AliasName
from undrift.migrate import compare

DOCUMENTS = 120
PAGE = 20
_CONFIG = """
ledger = "{ledger}"
[stores.main]
url = "sqlite-vec:vectors.db"
[models.old]
provider = "hashing"
dimensions = 16
[models.new]
provider = "hashing"
dimensions = 24
[timing]
poll_s = 0.05
"""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.servers)])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A migration that is ready, with a document that a stranger has changed in each half of it."""
    path = tmp_path / "undrift.toml"
    ledger = "sqlite:///undrift.db"
    server: Any = None
    if request.param == "postgres":
        server = request.getfixturevalue("server")
        server.sql("CREATE DATABASE comparing")
        ledger = server.url("comparing")
    path.write_text(_CONFIG.format(ledger=ledger), encoding="utf-8")
    with undrift.open(path) as plane:
        plane.create_alias("kb", store="main", collection="kb", model="old")
        kb = plane.alias("kb")
        kb.upsert([Document(id=f"d{number:03d}", text=f"text of number {number}") for number in range(DOCUMENTS)])
        plane.register("kb", "new")
        plane.work("kb", lambda migration: migration is not None and migration.phase is Phase.READY, sample=0)
        target = plane.router.join(AliasName("kb")).follower
    assert target is not None
    stranger = Stranger(tmp_path / "vectors.db", target.collection)
    for number in (7, 113):
        stranger.strip_tag(f"d{number:03d}")
    yield path
    if server is not None:
        server.sql("DROP DATABASE comparing WITH (FORCE)")


def killed_at(config: Path, verb: str, line: str) -> None:
    """Let a comparison run until it says a line, and kill it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.comparer", str(config), verb, str(PAGE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    for said in process.stdout:
        if said.strip() == line:
            break
        process.stdin.write("\n")
        process.stdin.flush()
    else:
        raise AssertionError(f"it ended with {process.wait()} and never said {line!r}")
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def counted(plane: ControlPlane) -> list[str]:
    """Count the documents of the serving field that are read from now on."""
    seen: list[str] = []
    route = plane.router.join(AliasName("kb"))
    store: Any = plane.store_of(route.serving)
    scan = store.scan

    def counting(field: Any, **options: Any) -> Any:
        page = scan(field, **options)
        if field == route.serving:
            seen.extend(entry.id for entry in page)
        return page

    store.scan = counting
    return seen


@pytest.mark.parametrize(
    ("verb", "line", "twice"),
    [("verify", "before 60", PAGE), ("reconcile", "after 60", 0)],
    ids=["verify before the bookmark", "reconcile after the bookmark"],
)
def test_a_killed_comparison_compares_one_page_twice_at_most(
    config: Path, monkeypatch: pytest.MonkeyPatch, verb: str, line: str, twice: int
) -> None:
    """And its report has what the killed process had found."""
    killed_at(config, verb, line)
    monkeypatch.setattr(compare, "PAGE", PAGE)

    with undrift.open(config) as plane:
        seen = counted(plane)
        report: dict[str, Any] = (
            plane.verify("kb", sample=20) if verb == "verify" else plane.reconcile("kb", scans=1)["scans"][0]
        )

    assert (report["compared"], report["resumed"]) == (DOCUMENTS, 1)
    assert len(seen) == len(set(seen)) == DOCUMENTS - 60 + twice
    assert [sample["id"] for sample in report["samples"]] == ["d007", "d113"]
    if verb == "verify":
        assert (report["mismatched"], report["sampled"]) == (2, 20)
    else:
        assert (report["foreign"], report["kinds"]) == (2, {"untagged": 2})


def test_a_verification_that_is_killed_while_it_embeds_goes_on_with_the_rest(config: Path) -> None:
    """What was embedded is not paid for again: one request of 256 texts at most."""
    killed_at(config, "verify", f"before {DOCUMENTS}")

    with undrift.open(config) as plane:
        shown = plane.status("kb")["verification"]
        report = plane.verify("kb", sample=20)

    assert shown["running"]["compared"] >= DOCUMENTS - PAGE
    assert (report["compared"], report["sampled"], report["resumed"]) == (DOCUMENTS, 20, 1)
