"""The lines that an application is made of, in a process of its own, on a collection that has documents."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import undrift
from tests.docs.settings import STARTER
from undrift import Document

pytestmark = pytest.mark.acceptance

LINES = """
import undrift

kb = undrift.open("undrift.toml").alias("kb")
kb.upsert([undrift.Document(id="42", text="…", metadata={"lang": "en"})])
kb.update_metadata("42", {"lang": "de"})       # no embedding is paid for
kb.delete(["7"])
kb.get(["42"]); kb.count(); kb.scan()           # documents as they are served
hits = kb.search("how do I authenticate?", k=10, filter={"lang": "en"})
hits[0].id, hits[0].score, hits[0].text, hits[0].metadata, hits.space, hits.epoch
"""
SHOW = """
import json

print(json.dumps({"hits": [hit.id for hit in hits], "documents": {one.id: dict(one.metadata) for one in kb.scan()}}))
"""


def test_the_lines_of_an_application_do_what_they_say(tmp_path: Path) -> None:
    (tmp_path / "undrift.toml").write_text(STARTER.read_text(encoding="utf-8"), encoding="utf-8")
    there = {"3": "en", "7": "en", "11": "en", "12": "fr"}
    with undrift.open(tmp_path / "undrift.toml") as plane:
        plane.alias("kb").upsert(
            [Document(id=id, text=f"how number {id} signs in", metadata={"lang": lang}) for id, lang in there.items()]
        )

    own = {name: value for name, value in os.environ.items() if not name.startswith("UNDRIFT_")}
    told = subprocess.run(
        [sys.executable, "-c", LINES + SHOW],
        cwd=tmp_path,
        env={**own, "PYTHONPATH": str(Path(undrift.__file__).parents[1])},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )

    assert (told.returncode, told.stderr) == (0, "")
    shown = json.loads(told.stdout)
    assert sorted(shown["hits"]) == ["11", "3"]
    assert shown["documents"] == {"3": {"lang": "en"}, "11": {"lang": "en"}, "12": {"lang": "fr"}, "42": {"lang": "de"}}
