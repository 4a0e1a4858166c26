"""Rows and the machine they were measured on, as text."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import apsw

from benchmarks.measuring import Judged, Row, Target
from undrift.adapters.sqlite import filesystem_of

_HEAD = ("", "ours", "baseline", "ratio", "target", "unit", "")


def machine() -> str:
    """Describe what decides the numbers, and nothing that names the machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{cores} cores{load}, {platform.system()} {platform.machine()}, files on {_filesystem()}; "
        f"Python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()}, "
        f"sqlite-vec {version('sqlite-vec')}, numpy {version('numpy')}"
    )


def rendered(rows: Sequence[Row]) -> str:
    """Return the rows as an aligned table."""
    lines = [_HEAD, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    texts = []
    for line in lines:
        cells = [
            line[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(line[1:5], widths[1:5], strict=True)),
        ]
        texts.append("  ".join([*cells, line[5].ljust(widths[5]), line[6]]).rstrip())
    return "\n".join(texts)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        _number(row.ours),
        "" if row.baseline is None else _number(row.baseline),
        "" if row.ratio is None else f"{row.ratio:.2f}x",
        "" if row.target is None else _target(row.target),
        row.unit,
        {True: "met", False: "MISSED", None: ""}[row.is_met],
    )


def _target(target: Target) -> str:
    sign, limit = ("<=", target.at_most) if target.at_most is not None else (">=", target.at_least)
    number = f"{limit:,.10g}"
    match target.judged:
        case Judged.RATIO:
            return f"{sign} {limit:.2f}x"
        case Judged.ADDED:
            return f"{sign} +{number}"
        case Judged.VALUE:
            return f"{sign} {number}"


def _number(value: float) -> str:
    for digits, least in ((0, 1000), (1, 100), (2, 1)):
        if abs(value) >= least:
            return f"{value:,.{digits}f}"
    return f"{value:.3f}"


def _filesystem() -> str:
    return filesystem_of(Path(tempfile.gettempdir())) or "an unknown filesystem"
