"""A ledger that was restored from a backup has forgotten what was dirty; it is noticed, refused, and healed (R38)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import undrift
from undrift import Document
from undrift.domain.migration import Phase
from undrift.errors import GateFailed, IncarnationMismatch

CONFIG = """
ledger = "sqlite:///undrift.db"
[stores.main]
url = "sqlite-vec:./vectors.db"
[models.old]
provider = "hashing"
[models.new]
provider = "hashing"
seed = "another"
[aliases.kb]
store = "main"
model = "old"
[timing]
poll_s = 0.05
"""


def test_marks_that_a_restore_took_away_are_found_again_before_a_cutover(tmp_path: Path) -> None:
    """Writes between the backup and the loss are in the serving field, and the ledger says nothing about them."""
    config = tmp_path / "undrift.toml"
    config.write_text(CONFIG, encoding="utf-8")
    ledger, backup = tmp_path / "undrift.db", tmp_path / "backup.db"
    with undrift.open(config) as plane:
        kb = plane.alias("kb")
        kb.upsert([Document(id=str(number), text=f"text {number}") for number in range(50)])
        plane.register("kb", "new")
        plane.work("kb", lambda migration: migration is not None and migration.phase is Phase.READY)
    shutil.copy(ledger, backup)
    with undrift.open(config) as plane:
        plane.alias("kb").upsert([Document(id=str(number), text=f"later {number}") for number in range(10)])
    for file in tmp_path.glob("undrift.db*"):
        file.unlink()
    shutil.copy(backup, ledger)

    with undrift.open(config) as plane:
        with pytest.raises(IncarnationMismatch, match="restored from a backup") as refused:
            plane.verify("kb")
        assert refused.value.hint == "undrift reconcile kb"
        with pytest.raises(GateFailed, match="reconciled"):
            plane.cutover("kb")

        found = plane.reconcile("kb")
        assert [(scan["foreign"], scan["kinds"]) for scan in found["scans"]] == [(10, {"stale_text": 10}), (0, {})]
        assert (found["verdict"], found["needs_reconcile"]) == ("pass", "")
        assert plane.verify("kb")["verdict"] == "pass"

        assert plane.cutover("kb")["phase"] == "reversing"
        assert [document.text for document in plane.alias("kb").get(["3", "30"])] == ["later 3", "text 30"]
