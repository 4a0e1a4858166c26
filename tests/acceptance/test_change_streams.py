"""The claim itself, on real documents: live writers, ten kills, cutover, rollback, and both fields equal the truth."""

from __future__ import annotations

import gzip
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import undrift
from undrift.domain.migration import BEFORE_CUTOVER, Phase
from undrift.domain.record import content_hash
from undrift.domain.route import AliasName

pytestmark = pytest.mark.acceptance

HERE = Path(__file__).parent
KILLS = 10
CONFIG = """
ledger = "sqlite:///undrift.db"
[stores.main]
url = "sqlite-vec:./{store}"
[models.old]
provider = "hashing"
dimensions = 256
[models.new]
provider = "callable"
function = "slow_model:embed"
name = "wordllama, slowly"
revision = "1"
dimensions = 256
batch_size = {batch}
[aliases.kb]
store = "main"
collection = "kb"
model = "old"
# Short leases, so that ten kills cost seconds and not minutes.
[timing]
lease_s = 3
poll_s = 0.2
work_lease_s = 2
fence_horizon_s = 0.5
deadline_s = 5
retry_s = 0.2
"""

#: A real model that takes its time, so that a back-fill can be killed in the middle, and keeps account of what it did.
SLOW_MODEL = """
import os
import time
from pathlib import Path

from undrift.adapters.embedders.wordllama import WordLlamaEmbedder

model = WordLlamaEmbedder(dimensions=256)
bill = Path(__file__).with_name("bill")


def embed(texts):
    vectors = model.embed_documents(texts)
    time.sleep(0.001 * len(texts))
    with bill.open("a") as account:
        account.write(f"{len(texts)}\\n")
    return vectors
"""
BATCH = 64

Truth = dict[str, tuple[str, dict[str, Any]]]


def read(path: Path) -> list[dict[str, Any]]:
    """Read a compressed JSON Lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def joined(row: dict[str, Any]) -> str:
    """Join title and text as `put` does."""
    return f"{row['title']} {row['text']}" if row.get("title") else str(row["text"])


def tldr_updates(shared: Path) -> tuple[Truth, list[dict[str, Any]]]:
    """Return the base documents and the real change stream, with metadata-only changes between."""
    base = {row["id"]: (joined(row), {}) for row in read(shared / "tldr-updates" / "corpus_base.jsonl.gz")}
    operations = []
    for number, row in enumerate(read(shared / "tldr-updates" / "ops.jsonl.gz")):
        text = joined(row) if row["op"] != "delete" else ""
        operations.append({"op": row["op"], "id": row["id"], "text": text, "metadata": {"commit": row["commit"]}})
        if number % 5 == 0:
            operations.append({"op": "metadata", "id": row["id"], "metadata": {"seen": number}})
    return base, operations


def nfcorpus(shared: Path) -> tuple[Truth, list[dict[str, Any]]]:
    """Return the documents, and a stream of real paraphrases, deletes, and documents that come back."""
    base = {row["id"]: (joined(row), {"set": "nf"}) for row in read(shared / "nfcorpus" / "corpus.jsonl.gz")}
    chance = random.Random(20261122)
    operations: list[dict[str, Any]] = []
    for row in read(shared / "nfcorpus" / "corpus_llm_rewrite.jsonl.gz"):
        kind = chance.choice(["update", "update", "delete", "metadata", "return", "none"])
        match kind:
            case "update":
                operations.append(
                    {"op": "update", "id": row["id"], "text": joined(row), "metadata": {"rewritten": True}}
                )
            case "delete":
                operations.append({"op": "delete", "id": row["id"]})
            case "metadata":
                operations.append({"op": "metadata", "id": row["id"], "metadata": {"set": "other"}})
            case "return":
                operations.append({"op": "delete", "id": row["id"]})
                operations.append({"op": "update", "id": row["id"], "text": joined(row), "metadata": {}})
    return base, operations


def replayed(base: Truth, operations: list[dict[str, Any]]) -> Truth:
    """Apply a stream to a dict: the oracle, which shares no code with undrift."""
    truth = dict(base)
    for op in operations:
        match op["op"]:
            case "delete":
                truth.pop(op["id"], None)
            case "metadata":
                if op["id"] in truth:
                    text, metadata = truth[op["id"]]
                    truth[op["id"]] = (text, {**metadata, **op["metadata"]})
            case _:
                truth[op["id"]] = (op["text"], op["metadata"])
    return truth


@contextmanager
def replaying(folder: Path, operations: list[dict[str, Any]], seconds: float) -> Iterator[None]:
    """Replay a stream by two processes while the block runs, and wait for their end."""
    path = folder / "ops.jsonl"
    path.write_text("".join(json.dumps(op) + "\n" for op in operations), encoding="utf-8")
    command = [sys.executable, str(HERE / "replayer.py"), str(folder / "undrift.toml"), "kb", str(path)]
    processes = [
        subprocess.Popen(
            [*command, str(share), "2", str(seconds)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for share in range(2)
    ]
    try:
        yield
        for process in processes:
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def worker(folder: Path) -> subprocess.Popen[str]:
    """Start a worker process, as an operator would."""
    command = [sys.executable, "-m", "undrift", "--config", str(folder / "undrift.toml"), "worker", "kb"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def kill_in_the_middle(folder: Path, plane: undrift.ControlPlane, chance: random.Random) -> bool:
    """Start a worker, let it begin, and kill it; whether that was before the back-fill's end."""
    process = worker(folder)
    migration = plane.status("kb")
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        if any(client.pid == process.pid for client in plane.ledger.clients(AliasName("kb"))):
            break
        time.sleep(0.05)
    time.sleep(chance.uniform(0.1, 1.2))
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    return migration["phase"] in ("registered", "journaling", "backfill")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one verb of the installed command."""
    command = [sys.executable, "-m", "undrift", "--config", str(folder / "undrift.toml"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    return done


def fields(folder: Path, plane: undrift.ControlPlane) -> dict[str, Truth]:
    """Read both fields through the store alone, and prove every record's tag and vector on the way."""
    route = plane.ledger.route(AliasName("kb"))
    assert route is not None
    assert route.follower is not None
    found: dict[str, Truth] = {}
    for name, field in (("serving", route.serving), ("follower", route.follower)):
        lines = [json.loads(line) for line in run(folder, "export", "kb", "--field", name).stdout.splitlines()]
        assert {line["space"] for line in lines} == {field.space}
        assert all(line["hash"] == content_hash(line["text"]) for line in lines)
        found[name] = {line["id"]: (line["text"], line["metadata"]) for line in lines}
        assert len(found[name]) == len(lines)
        every_third = sorted(found[name])[::3]
        records = plane.store_of(field).fetch(field, every_third)  # type: ignore[arg-type]
        fresh = plane.door_of(field.space).fresh([records[id].text for id in every_third])  # type: ignore[index]
        for id, vector in zip(every_third, fresh, strict=True):
            assert float(records[id].vector @ vector) > 0.9999  # type: ignore[index]
    return found


@pytest.mark.long
@pytest.mark.parametrize(
    ("stream", "shared_file"),
    [pytest.param(tldr_updates, False, id="tldr-updates"), pytest.param(nfcorpus, True, id="nfcorpus-in-one-file")],
)
def test_both_fields_equal_the_replayed_truth(
    stream: Any, shared_file: bool, tmp_path: Path, shared_data: Path
) -> None:
    """Nothing is lost, resurrected, stale or mixed, whoever dies, and whichever way the route moves."""
    base, operations = stream(shared_data)
    config = tmp_path / "undrift.toml"
    config.write_text(CONFIG.format(store="undrift.db" if shared_file else "vectors.db", batch=BATCH), encoding="utf-8")
    (tmp_path / "slow_model.py").write_text(SLOW_MODEL, encoding="utf-8")
    documents = tmp_path / "base.jsonl"
    lines = [json.dumps({"id": id, "text": text, "metadata": metadata}) for id, (text, metadata) in base.items()]
    documents.write_text("\n".join(lines) + "\n", encoding="utf-8")
    run(tmp_path, "put", "kb", str(documents))
    third = len(operations) // 3
    seed = random.SystemRandom().randrange(2**32)
    sys.stdout.write(f"seed of the kills: {seed}\n")
    chance = random.Random(seed)

    with undrift.open(config) as plane, replaying(tmp_path, operations[:third], seconds=8):
        time.sleep(0.5)
        run(tmp_path, "start", "kb", "--to", "new", "--detach")
        within = sum(kill_in_the_middle(tmp_path, plane, chance) for _ in range(KILLS))
        assert within >= KILLS // 2, "the back-fill was over before it could be killed"
        run(tmp_path, "start", "kb", "--to", "new")
    texts = len(base) + sum(op["op"] != "delete" for op in operations[:third])
    lost_in_kills, probes = KILLS * BATCH, (KILLS + 5) * 20
    assert sum(map(int, (tmp_path / "bill").read_text().split())) <= texts + lost_in_kills + probes + 1000

    with undrift.open(config) as plane, replaying(tmp_path, operations[third : 2 * third], seconds=4):
        time.sleep(1)
        run(tmp_path, "cutover", "kb", "--yes")
    with undrift.open(config) as plane:
        assert plane.status("kb")["phase"] == Phase.REVERSING.value
        plane.verify("kb", sample=50)
        truth = replayed(base, operations[: 2 * third])
        after_cutover = fields(tmp_path, plane)
        assert after_cutover["serving"] == truth
        assert after_cutover["follower"] == truth

        with replaying(tmp_path, operations[2 * third :], seconds=4):
            time.sleep(1)
            run(tmp_path, "rollback", "kb", "--now", "--yes")
        report = plane.verify("kb", sample=50)
        assert report["verdict"] == "pass", report
        truth = replayed(base, operations)
        after_rollback = fields(tmp_path, plane)
        assert after_rollback["serving"] == truth
        assert after_rollback["follower"] == truth
        assert plane.status("kb")["phase"] == Phase.ROLLED_BACK.value
        assert Phase.ROLLED_BACK not in BEFORE_CUTOVER
