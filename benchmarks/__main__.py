"""Measure what the product promises: `python -m benchmarks [NAME…] [--quick | --long]`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

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
from benchmarks.drift import table as data_drift
from benchmarks.held_out import table as held_out
from benchmarks.measuring import Row
from benchmarks.table import machine, rendered
from benchmarks.trace import table as trace

BENCHMARKS: dict[str, ModuleType] = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        search,
        write,
        fixed_costs,
        backfill,
        local_model,
        verify,
        migration_latency,
        imports,
        fairness,
        pgvector,
        chroma,
        qdrant_edge,
        lancedb,
        milvus,
        rate_limit,
        vector_cache,
    )
}
#: Those that return a table of their own, which has other columns.
TABLES: dict[str, ModuleType] = {"trace": trace, "data_drift": data_drift, "canary": canary, "held_out": held_out}


def main(arguments: list[str] | None = None) -> int:
    """Run the named benchmarks, or all of them, and print one table."""
    known = [*BENCHMARKS, *TABLES]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what the product promises.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(known)}; all by default")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="small sizes: to see that everything runs, not to quote")
    size.add_argument("--long", action="store_true", help="also what takes many minutes: a million documents")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(known)}")
    print(machine(), flush=True)
    rows: list[Row] = []
    tables: list[str] = []
    for name in options.names or known:
        module = (BENCHMARKS | TABLES)[name]
        began = time.perf_counter()
        print(f"{name} …", end=" ", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="undrift-bench-") as folder:
            measured = module.measure(Path(folder), _size(module, quick=options.quick, long=options.long))
        if name in TABLES:
            tables.append(measured)
        else:
            rows += measured
        print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    print("\n\n".join([*([rendered(rows)] if rows else []), *tables]))
    return 0


def _size(module: ModuleType, *, quick: bool, long: bool) -> Any:
    if quick:
        return module.QUICK
    return getattr(module, "LONG", module.FULL) if long else module.FULL


if __name__ == "__main__":
    sys.exit(main())
