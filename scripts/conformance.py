"""Runs the kit for stores on every adapter that can run here: `python -m scripts.conformance`, or `make conformance`.

Writes docs/reference/conformance.md and docs/reference/stores.md, and fails when a test fails or is skipped without a
capability that its store declares. With `--require ADAPTER` it also fails when that adapter did not run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from scripts.conformance_plugin import kit_tests
from undrift.plugins import STORES

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "docs" / "reference" / "conformance.md"
SUPPORT = ROOT / "docs" / "reference" / "stores.md"
#: The adapters by the first scheme of each; another scheme of the same one says how it is reached.
ADAPTERS = frozenset({target: scheme for scheme, target in reversed(STORES.items())}.values())
#: Whose versions tell the engine where a run of the kit does not: the first that is installed is the engine itself.
PACKAGES = {
    "chroma": ("chromadb",),
    "lancedb": ("lancedb",),
    "milvus": ("milvus-lite", "pymilvus"),
    "qdrant": ("qdrant-client",),
    "qdrant-edge": ("qdrant-edge-py",),
    "elasticsearch": ("elasticsearch",),
    "mongodb": ("pymongo",),
    "opensearch": ("opensearch-py",),
    "weaviate": ("weaviate-client",),
    "memory": ("numpy",),
}
#: The page on which a store is explained, where its name does not say.
PAGES = {
    "qdrant-edge": "../how-to/use-qdrant.md",
    "sqlite-vec": "../adr/0003-embedded-store.md",
    "memory": "../how-to/write-an-adapter.md",
}
NOT_VERIFIED = "use-stores-not-verified.md"

REPORT_HEAD = """# Conformance of the stores

<!-- Written by `make conformance`, which runs everything that is on it. -->

Every adapter passes the [published kit](../how-to/write-an-adapter.md), against the real engine wherever that can
run. A test is skipped only because of a capability that the store declares; the report fails otherwise.
"""
SUPPORT_HEAD = """# Stores

<!-- Written by `make conformance` from what the adapters declare, and from what ran. -->

A store is named by the first word of its address, `[stores.NAME] url = "WORD:…"`. Gates and plans go by what an
adapter declares. *Live* means that the whole kit has passed against the engine itself, in the version given; *double*
that it has passed with the vendor's client against a double of the server, and that nobody has verified it against a
live one.
[The conformance report](conformance.md) has every test.
"""
SUPPORT_TAIL = """
- **layouts**: `collection`, the new vectors in a collection of their own; `in_place`, beside the old ones in the same
  records.
- **limits**: the longest id, text and metadata (as JSON) in bytes of UTF-8, where they are lower than what every other
  store keeps: ids of 512 bytes, texts and metadata of 1 MiB at least, metadata nested 64 deep. What is larger is
  refused by name. A plan of a migration to such a store counts it, and the migration sets it aside
  (`rejected_by_store`).
- **no strong reads**: a read may be older than what was acknowledged to somebody. Such a store serves; no migration
  leads from or to it.
- **settles**: seconds after the deadline of a write after which nothing of it can land any more. A migration between
  two stores waits the larger of both.
- **lists lag**: seconds that a scan may be behind, where the engine has no order of ids and the adapter keeps a list of
  them.
"""


def main(words: Sequence[str] | None = None) -> int:
    """Run, write, and say what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--require", action="append", default=[], metavar="ADAPTER", help="an adapter that must have run"
    )
    parser.add_argument("--only-show", action="store_true", help="write no page")
    parser.add_argument("pytest", nargs="*", metavar="WORD", help="for pytest, behind --")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "report.json")
        plugin = ("-p", "scripts.conformance_plugin", "--conformance-report", str(file), "-p", "no:xdist")
        command = [sys.executable, "-m", "pytest", "-q", "tests/conformance", *plugin, *options.pytest]
        done = subprocess.run(command, cwd=ROOT, check=False)
        value = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"runs": [], "left_out": {}}
    if not options.only_show:
        REPORT.write_text(report(value), encoding="utf-8")
        SUPPORT.write_text(support(value), encoding="utf-8")
    wrong = [*faults(value), *(f"{name} did not run" for name in options.require if name not in _adapters(value))]
    if done.returncode and not wrong:
        wrong.append(f"pytest ended with {done.returncode}")
    for fault in wrong:
        sys.stderr.write(f"{fault}\n")
    sys.stderr.write(f"conformance: {len(_ran(value))} runs of the kit, {len(wrong)} faults\n")
    return 1 if wrong else 0


def faults(value: Mapping[str, Any]) -> list[str]:
    """Return what makes a report fail: tests that failed, and skips that name no declared capability."""
    wrong = []
    for run in value["runs"]:
        failed = [name for name, tally in run["tests"].items() if tally["failed"]]
        wrong += [f"{run['label']}: {name} failed" for name in failed]
        if run["adapter"]:
            wrong += [f"{run['label']}: skipped without a declared capability: {why}" for why in run["undeclared"]]
    return wrong


def report(value: Mapping[str, Any]) -> str:
    """Return the page of the report."""
    runs = _ran(value)
    parts = [
        REPORT_HEAD,
        "## What ran\n",
        "| run | adapter | engine | live | passed | skipped |\n|---|---|---|---|---|---|",
    ]
    for run in runs:
        passed = sum(tally["passed"] for tally in run["tests"].values())
        skipped = sum(sum(tally["skipped"].values()) for tally in run["tests"].values())
        live = "live" if run["live"] else "double"
        parts.append(f"| {run['label']} | {run['adapter']} | {_engine(run)} | {live} | {passed} | {skipped} |")
    parts += ["", "## What was skipped, and why\n", *_skips(runs), "", "## What did not run\n", *_not_run(value), ""]
    parts += ["## Every test\n", *_matrix(runs)]
    return "\n".join(parts).rstrip() + "\n"


def support(value: Mapping[str, Any]) -> str:
    """Return the page of the stores."""
    head = "| store | verified with | layouts | metrics | dimensions | search | limits | settles | lists lag |"
    parts = [SUPPORT_HEAD, head, "|" + "---|" * (head.count("|") - 1)]
    seen = set()
    for run in sorted(_whole(_ran(value)), key=lambda run: (not run["live"], run["adapter"], run["label"])):
        seen.add(run["adapter"])
        parts.append(_row(run))
    parts += [f"| [{name}]({_page(name)}) | not verified here | | | | | | | |" for name in sorted(ADAPTERS - seen)]
    return "\n".join(parts) + "\n" + SUPPORT_TAIL


def _row(run: Mapping[str, Any]) -> str:
    can = run["capabilities"]
    names = (("id", "max_id_bytes"), ("text", "max_text_bytes"), ("metadata", "max_metadata_bytes"))
    declared = [f"{name} {can[key]:,}" for name, key in names if can.get(key) is not None]
    limits = ", ".join([*declared, *([] if can.get("strong_reads", True) else ["no strong reads"])])
    cells = (
        f"[{run['adapter']}]({_page(run['adapter'])})",
        f"{'live' if run['live'] else 'double'}: {_engine(run)}",
        ", ".join(can["layouts"]),
        ", ".join(can["metrics"]),
        f"{can['max_dimensions']:,}",
        "exact" if run["exact"] else "index",
        limits,
        f"{can['settles_within_s']:g} s",
        f"{can['scans_lag_s']:g} s" if can["scans_lag_s"] else "",
    )
    return "| " + " | ".join(cells) + " |"


def _page(adapter: str) -> str:
    listed = ROOT / "docs" / "reference" / PAGES.get(adapter, "")
    own = ROOT / "docs" / "how-to" / f"use-{adapter}.md"
    if own.exists():
        return f"../how-to/{own.name}"
    fallback = f"../how-to/{NOT_VERIFIED}" if (ROOT / "docs" / "how-to" / NOT_VERIFIED).exists() else "configuration.md"
    return PAGES[adapter] if adapter in PAGES and listed.exists() else fallback


def _engine(run: Mapping[str, Any]) -> str:
    """Return what answered; of a double, only the client of the vendor is known."""
    return run["engine"] or ", ".join(_versions(run["adapter"])) or "unknown"


def _versions(adapter: str) -> Iterator[str]:
    for package in PACKAGES.get(adapter, (adapter,)):
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            continue


def _ran(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the runs that got as far as a store; one whose class names no engine has that of its neighbours."""
    runs = sorted((run for run in value["runs"] if run["adapter"]), key=lambda run: (run["adapter"], run["label"]))
    known = {(run["adapter"], run["live"]): run["engine"] for run in runs if run["engine"]}
    return [{**run, "engine": run["engine"] or known.get((run["adapter"], run["live"]), "")} for run in runs]


def _whole(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those runs that had every test of the kit, or the largest of an adapter where none had."""
    most = {adapter: max(len(run["tests"]) for run in runs if run["adapter"] == adapter) for adapter in _names(runs)}
    return [run for run in runs if len(run["tests"]) == most[run["adapter"]]]


def _names(runs: Sequence[dict[str, Any]]) -> set[str]:
    return {run["adapter"] for run in runs}


def _adapters(value: Mapping[str, Any]) -> set[str]:
    return _names(_ran(value))


def _skips(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    rows = [
        f"| {run['label']} | `{name}` | {reason} | {sum(t['skipped'].get(name, 0) for t in run['tests'].values())} |"
        for run in runs
        for name, reason in sorted(run["reasons"].items())
    ]
    if not rows:
        yield "Nothing."
        return
    yield "| run | capability | the first reason | tests |\n|---|---|---|---|"
    yield from rows


def _not_run(value: Mapping[str, Any]) -> Iterator[str]:
    absent = sorted(ADAPTERS - _adapters(value))
    rows = [f"- `{name}`" for name in absent]
    rows += [
        f"- {run['label']}: {run['undeclared'][0].partition(': ')[2]}"
        for run in value["runs"]
        if not run["adapter"] and run["undeclared"]
    ]
    yield from rows or ["Every adapter ran."]


def _matrix(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "A number says how many cases passed; a word, for which capability a test was skipped.\n"
    yield "| test | " + " | ".join(run["label"] for run in runs) + " |"
    yield "|---|" + "---|" * len(runs)
    for name in kit_tests():
        words = name.partition("::")[2].removeprefix("test_").replace("_", " ")
        yield f"| {words} | " + " | ".join(_cell(run["tests"].get(name)) for run in runs) + " |"


def _cell(tally: Mapping[str, Any] | None) -> str:
    if tally is None:
        return "not run"
    parts = [str(tally["passed"])] if tally["passed"] else []
    parts += [f"**{tally['failed']} failed**"] if tally["failed"] else []
    parts += [f"`{name}`" for name in sorted(tally["skipped"])]
    return ", ".join(parts) or "not run"


if __name__ == "__main__":
    sys.exit(main())
