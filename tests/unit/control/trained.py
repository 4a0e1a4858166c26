"""A collection whose model does not understand its queries, and heads that teach it to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from undrift.adapters.embedders.head import save_head
from undrift.config import load
from undrift.control import ControlPlane
from undrift.ports.runtime import Clock

TOPICS = 12
_CONFIG = f"""# mine
ledger = "sqlite:///undrift.db"

[stores.main]
url = "sqlite-vec:./vectors.db"

[models.old]
provider = "callable"
function = "topics_of:embed"
name = "topics"
dimensions = {2 * TOPICS + 1}

[aliases.kb]
store = "main"
model = "old"

[timing]
poll_s = 0.02
retry_s = 0.02
"""
#: Documents are about `d3`, queries ask for `q3`; the model does not know that these are the same.
_MODEL = f"""
import numpy as np

def embed(texts):
    vectors = np.zeros((len(texts), {2 * TOPICS + 1}), dtype=np.float32)
    vectors[:, -1] = 1.0
    for row, text in enumerate(texts):
        for word in text.split():
            if word[:1] in ("d", "q") and word[1:].isdigit() and int(word[1:]) < {TOPICS}:
                vectors[row, int(word[1:]) + ({TOPICS} if word[0] == "q" else 0)] += 1.0
    return vectors
"""


def world(folder: Path, clock: Clock | None = None) -> ControlPlane:
    """Make a collection with a golden set, and open it."""
    (folder / "undrift.toml").write_text(_CONFIG)
    (folder / "topics_of.py").write_text(_MODEL)
    documents = [{"id": f"doc{number:02}", "text": f"d{number}"} for number in range(TOPICS)]
    (folder / "documents.jsonl").write_text("".join(json.dumps(one) + "\n" for one in documents))
    plane = opened(folder, clock)
    plane.put("kb", folder / "documents.jsonl")
    golden(plane, folder, "topics")
    return plane


def opened(folder: Path, clock: Clock | None = None) -> ControlPlane:
    return ControlPlane(load(folder / "undrift.toml"), clock=clock)


def golden(plane: ControlPlane, folder: Path, name: str, *, queries: int = TOPICS) -> None:
    """Keep a golden set of so many queries."""
    asked, judged = folder / "queries.jsonl", folder / "judgements.tsv"
    asked.write_text("".join(json.dumps({"id": f"q{one}", "text": f"q{one}"}) + "\n" for one in range(queries)))
    judged.write_text("".join(f"q{one}\tdoc{one:02}\t1\n" for one in range(queries)))
    plane.import_golden(name, asked, judged)


def head(plane: ControlPlane, folder: Path, name: str, strength: float) -> Path:
    """Write a head that turns so much of each query word into its document word; below 0 it turns them away."""
    size = 2 * TOPICS + 1
    matrix = np.eye(size)
    matrix[range(TOPICS), range(TOPICS, 2 * TOPICS)] = strength
    place = folder / "heads" / name
    save_head(place, matrix, plane.model_door("old").space)
    return place
