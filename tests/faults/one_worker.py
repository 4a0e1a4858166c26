"""A collection of twenty documents, the model of a provider on this machine, and a worker as a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from undrift import Document

DOCUMENTS = [Document(id=f"d{number:02d}", text=f"text of number {number}") for number in range(20)]
#: For whatever a process is waited for, in seconds.
PATIENCE_S = 120.0
_CONFIG = """
ledger = "sqlite:///undrift.db"
[stores.main]
url = "sqlite-vec:./vectors.db"
[models.old]
provider = "hashing"
dimensions = 16
[models.new]
provider = "openai"
name = "new"
base_url = "{url}"
dimensions = 24
{model}
[aliases.kb]
store = "main"
model = "old"
[timing]
poll_s = 0.1
deadline_s = 2
fence_horizon_s = 1
lease_s = {lease_s}
work_lease_s = {lease_s}
"""
_WORKER = """
import undrift
with undrift.open("undrift.toml") as plane:
    plane.work("kb", lambda migration: migration is not None and migration.phase.value == "catchup")
"""


def configure(folder: Path, url: str, *, lease_s: int, model: str = "") -> Path:
    """Write the configuration, with more keys of the new model, and return where it is."""
    path = folder / "undrift.toml"
    path.write_text(_CONFIG.format(url=url, lease_s=lease_s, model=model), encoding="utf-8")
    return path


def begin_worker(folder: Path) -> subprocess.Popen[bytes]:
    """Begin a worker, which ends when every piece is carried over."""
    return subprocess.Popen([sys.executable, "-c", _WORKER], cwd=folder)
