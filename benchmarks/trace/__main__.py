"""Play the traces and print the tables: `python -m benchmarks.trace [--quick]`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.trace.table import FULL, QUICK, measure


def main(arguments: list[str] | None = None) -> int:
    """Play the traces and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trace", description="What the usual recipes lose.")
    parser.add_argument("--quick", action="store_true", help="two small traces: to see that everything runs")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="undrift-trace-") as folder:
        print(measure(Path(folder), QUICK if options.quick else FULL))
    return 0


if __name__ == "__main__":
    sys.exit(main())
