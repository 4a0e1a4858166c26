"""The whole life of a large collection of small documents: `python -m benchmarks.million [--documents N] [--copy]`.

Every stage is timed, with the most memory that the process had until its end. With `--copy` the vectors are copied to
another file; else every text is embedded by the hashing embedder.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import undrift
from benchmarks.backfill import _peak_mb
from benchmarks.scene import batches, records
from benchmarks.table import machine
from undrift import Document
from undrift.domain.migration import Migration, Phase

_CONFIG = """
ledger = "sqlite:///undrift.db"
[stores.main]
url = "sqlite-vec:vectors.db"
[stores.other]
url = "sqlite-vec:other.db"
[models.old]
provider = "hashing"
dimensions = 64
[models.new]
provider = "hashing"
dimensions = 96
[aliases.kb]
store = "main"
model = "old"
"""
#: Records written at a time while the collection is made.
_FILL = 4096


def document(number: int) -> Document:
    """Return a small document."""
    return Document(
        id=f"doc{number:08d}",
        text=f"item {number} is on shelf {number % 977}, row {number % 31}",
        metadata={"shelf": number % 977},
    )


def live(folder: Path, count: int, *, copy: bool) -> list[tuple[str, float, float, float]]:
    """Take a collection through its life; return for each stage its name, seconds, documents a second, and MB."""
    (folder / "undrift.toml").write_text(_CONFIG, encoding="utf-8")
    told: list[tuple[str, float, float, float]] = []
    with undrift.open(folder / "undrift.toml") as plane:

        def stage(name: str, run: Callable[[], object]) -> None:
            began = time.perf_counter()
            run()
            seconds = time.perf_counter() - began
            told.append((name, seconds, count / seconds, _peak_mb()))
            print(f"{name}: {seconds:.1f} s", file=sys.stderr, flush=True)

        def fill() -> None:
            serving = plane.alias("kb").route().serving
            for batch in batches(map(document, range(count)), _FILL):
                plane.store_of(serving).upsert(serving, records(plane, serving, batch))

        def reach(*phases: Phase) -> Callable[[], object]:
            def is_there(migration: Migration | None) -> bool:
                return migration is None or migration.phase in phases

            return lambda: plane.work("kb", is_there)

        to = {"to": None, "to_store": "other"} if copy else {"to": "new", "to_store": None}
        stage("fill", fill)
        stage("plan", lambda: plane.plan("kb", **to))
        stage("begin", lambda: (plane.register("kb", **to), reach(Phase.BACKFILL)()))
        stage("back-fill", reach(Phase.CATCHUP, Phase.VERIFY, Phase.READY))
        stage("verification", reach(Phase.READY))
        stage("cutover", lambda: plane.cutover("kb"))
        stage("rollback", lambda: plane.rollback("kb"))
        stage("cutover again", lambda: plane.cutover("kb"))
        stage("completion", lambda: plane.complete("kb"))
        assert plane.alias("kb").count() == count
    return told


def main(arguments: list[str] | None = None) -> int:
    """Run it, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.million", description=__doc__)
    parser.add_argument("--documents", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--copy", action="store_true", help="to another file, with the vectors as they are")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="undrift-million-") as folder:
        told = live(Path(folder), options.documents, copy=options.copy)
        sizes = {file.name: file.stat().st_size for file in sorted(Path(folder).glob("*.db"))}
    how = "vectors copied to another file" if options.copy else "every text embedded"
    print(f"{machine()}\n{options.documents:,} documents, {how}\n")
    print("| stage | seconds | documents a second | peak memory of the process, MB |\n|---|---|---|---|")
    for name, seconds, rate, memory in told:
        shown = f"{rate:,.0f}" if seconds >= 1 else ""
        print(f"| {name} | {seconds:.1f} | {shown} | {memory:.0f} |")
    print("\n" + ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in sizes.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
