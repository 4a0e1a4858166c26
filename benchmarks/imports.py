"""How long the package takes to import and its command to answer, and how much is installed."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

from benchmarks.measuring import Judged, Row, Target, median, timed

_ROOT = Path(__file__).resolve().parents[1]
#: What each fresh interpreter runs; the command as its installed script does.
_PROGRAMS = {
    "numpy": "import numpy",
    "undrift": "import undrift",
    "help": "import sys; from undrift.cli.main import main; sys.argv = ['undrift', '--help']; main()",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How often each program is started."""

    rounds: int


QUICK = Size(rounds=3)
FULL = Size(rounds=15)


def measure(_folder: Path, size: Size = FULL) -> list[Row]:
    """Return the times of fresh interpreters, and the size of the core installation."""
    seconds: dict[str, list[float]] = {name: [] for name in _PROGRAMS}
    for number in range(size.rounds + 1):
        for name, program in _PROGRAMS.items():
            taken = timed(lambda: _run(program))  # noqa: B023 - it is called at once
            if number:
                # The first time compiles and warms the disk's cache.
                seconds[name].append(taken)
    numpy, ours, help = (median(seconds[name]) * 1000 for name in ("numpy", "undrift", "help"))
    return [
        Row(
            name="import undrift, beside import numpy",
            ours=ours,
            baseline=numpy,
            unit="ms",
            target=Target(judged=Judged.RATIO, at_most=1.5),
        ),
        Row(
            name="undrift --help, beside import numpy",
            ours=help,
            baseline=numpy,
            unit="ms",
            target=Target(judged=Judged.RATIO, at_most=2.0),
        ),
        Row(
            name="core installation, beside numpy alone",
            ours=sum(map(_installed_mb, _core())) + _own_mb(),
            baseline=_installed_mb("numpy"),
            unit="MB",
            target=Target(judged=Judged.VALUE, at_most=100),
        ),
    ]


def _run(program: str) -> None:
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


def _core() -> set[str]:
    """Return the names of what `pip install undrift` without extras brings here, itself left out."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: set[str] = set()
    waiting = [(Requirement(text), "") for text in project["dependencies"]]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        wanted = ["", *requirement.extras]
        if name in found and not requirement.extras:
            continue
        found.add(name)
        waiting += [(Requirement(text), extra) for text in distribution(name).requires or [] for extra in wanted]
    return found


def _installed_mb(name: str) -> float:
    """Return the size of a distribution's files, without compiled Python, which not every installer leaves there."""
    return sum(_sizes(name)) / 1e6


def _sizes(name: str) -> Iterator[int]:
    for file in distribution(name).files or []:
        path = Path(str(file.locate()))
        if path.suffix != ".pyc" and path.is_file():
            yield path.stat().st_size


def _own_mb() -> float:
    package = _ROOT / "src" / "undrift"
    return sum(path.stat().st_size for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc") / 1e6
