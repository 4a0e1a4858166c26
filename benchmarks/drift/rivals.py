"""The libraries that others use, each in an environment of its own, because they bind what they stand on."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: By name: what is installed, and the script that runs it.
RIVALS = {
    "Alibi Detect 0.13.0": (["alibi-detect[torch]==0.13.0"], "run_alibi_detect.py"),
    # This version of it does not know the next pandas, though it does not say so.
    "Evidently 0.7.23": (["evidently==0.7.23", "pandas<3"], "run_evidently.py"),
}
_HERE = Path(__file__).parent
#: One thread for everybody: what is compared is the work.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class NotAvailable(Exception):
    """A library cannot be had here."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Which pairs of windows a method flags, and how many seconds of the processor each took it."""

    flagged: Sequence[int]
    seconds: Sequence[float]


def python_of(rival: str) -> Path:
    """Return the Python of an environment that has a library; it is made once, in the folder for caches.

    Raises:
        NotAvailable: it cannot be installed; the text says why.
    """
    requirements, _ = RIVALS[rival]
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = caches / "undrift-benchmarks" / rival.lower().replace(" ", "-")
    python, made = place / "bin" / "python", place / "installed"
    if not made.exists():
        _told([sys.executable, "-m", "venv", "--clear", str(place)])
        if importlib.util.find_spec("uv"):
            _told([sys.executable, "-m", "uv", "--quiet", "pip", "install", "--python", str(python), *requirements])
        else:
            _told([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements])
        made.touch()
    return python


def run(rival: str, windows: Path) -> Mapping[str, Outcome]:
    """Let a library judge pairs of windows by each of its methods.

    Raises:
        NotAvailable: it cannot be installed, or does not run here.
    """
    _, script = RIVALS[rival]
    said = _told([str(python_of(rival)), str(_HERE / script), str(windows)])
    found = json.loads(said.splitlines()[-1])
    return {name: Outcome(one["flagged"], one["seconds"]) for name, one in found.items()}


def _told(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **ONE_THREAD})
    if done.returncode:
        raise NotAvailable((done.stderr.strip().splitlines() or [f"{command[0]} failed without a word"])[-1][:200])
    return done.stdout
