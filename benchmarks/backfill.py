"""How fast a migration carries documents over, and what memory it takes."""

from __future__ import annotations

import resource
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import vectors, wordllama_package
from benchmarks.background import alone
from benchmarks.measuring import Judged, Row, Target, median, timed
from benchmarks.raw import RawClient
from benchmarks.scene import ALIAS, Scene, batches, documents, prepare, real_documents
from undrift.adapters.embedders.wordllama import WordLlamaEmbedder
from undrift.domain.migration import Phase
from undrift.domain.route import VectorField
from undrift.domain.space import Metric, SpaceId
from undrift.migrate.backfill import CHUNK_SIZE


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is carried over, how often, and how many real texts."""

    documents: tuple[int, ...]
    rounds: int
    texts: int


QUICK = Size(documents=(1_000, 4_000), rounds=1, texts=500)
FULL = Size(documents=(10_000, 100_000), rounds=3, texts=10_000)
LONG = Size(documents=(10_000, 100_000, 1_000_000), rounds=3, texts=10_000)

_RATE = Target(judged=Judged.VALUE, at_least=10_000)
_BULK = Target(judged=Judged.RATIO, at_least=0.6)
_MODEL = Target(judged=Judged.RATIO, at_least=0.95)
_MEMORY = Target(judged=Judged.RATIO, at_most=1.10)


def measure(folder: Path, size: Size = FULL) -> list[Row]:
    """Return rates of the back-fill in documents a second, and its peak memory."""
    rows: list[Row] = []
    peaks: list[float] = []
    for count in size.documents:
        scene = prepare(folder / f"{count}", documents(count))
        ours, busy, peak, bulk, default = [], [], [], [], []
        for _ in range(size.rounds):
            rate, by_processor, memory = _on_a_copy(scene, _carry, "new")
            ours.append(rate)
            busy.append(by_processor)
            peak.append(memory)
            bulk.append(_on_a_copy(scene, _load, count, False))
            default.append(_on_a_copy(scene, _load, count, True))
        peaks.append(median(peak))
        named = f"back-fill {count:,} documents, vectors free"
        rows += [
            Row(
                name=f"{named}, beside a bulk load",
                ours=median(ours),
                baseline=median(bulk),
                unit="docs/s",
                target=_BULK,
            ),
            Row(
                name=f"{named}, beside a bulk load into vec0 as it comes",
                ours=median(ours),
                baseline=median(default),
                unit="docs/s",
            ),
            Row(name=named, ours=median(ours), unit="docs/s", target=_RATE),
            Row(name=f"{named}, in a second of the processor", ours=median(busy), unit="docs/s"),
            Row(
                name=f"peak memory with {count:,} documents"
                + (f", beside {size.documents[0]:,}" if len(peaks) > 1 else ""),
                ours=peaks[-1],
                baseline=peaks[0] if len(peaks) > 1 else None,
                unit="MB",
                target=_MEMORY if len(peaks) > 1 else None,
            ),
        ]
    return rows + _with_wordllama(folder, size)


def _with_wordllama(folder: Path, size: Size) -> list[Row]:
    """Carry the documentation of Python over to a real model, beside the model alone on the same texts."""
    found = real_documents(size.texts)
    scene = prepare(folder / "texts", found)
    texts = [document.text for document in found]
    ours, package, adapter = [], [], []
    for _ in range(size.rounds):
        ours.append(_on_a_copy(scene, _carry, "wordllama")[0])
        package.append(alone(_embed_by_package, texts))
        adapter.append(alone(_embed_by_adapter, texts))
    named = f"back-fill {len(texts):,} real texts by wordllama"
    return [
        Row(
            name=f"{named}, beside its package's embed",
            ours=median(ours),
            baseline=median(package),
            unit="docs/s",
            target=_MODEL,
        ),
        Row(
            name=f"{named}, beside undrift's embedder alone", ours=median(ours), baseline=median(adapter), unit="docs/s"
        ),
    ]


def _on_a_copy(scene: Scene, run: Callable[..., Any], *arguments: Any) -> Any:
    """Run something in a process of its own on a copy of a scene."""
    copy = scene.copy(scene.folder.with_name(f"{scene.folder.name}-copy"))
    try:
        return alone(run, copy, *arguments)
    finally:
        shutil.rmtree(copy.folder)


def _carry(scene: Scene, model: str) -> tuple[float, float, float]:
    """Migrate to a model; return the back-fill's documents a second, those a second of the processor, and peak MB."""
    with scene.open() as plane:
        plane.register(ALIAS, model)
        plane.work(ALIAS, lambda migration: migration is None or migration.phase is Phase.BACKFILL)
        before = time.process_time()
        seconds = timed(
            lambda: plane.work(ALIAS, lambda migration: migration is None or migration.phase is not Phase.BACKFILL)
        )
        busy = time.process_time() - before
        count = plane.alias(ALIAS).count()
        return count / seconds, count / busy, _peak_mb()


def _load(scene: Scene, count: int, by_default: bool) -> float:
    """Load as many documents into another collection of the same file; return documents a second.

    They are made outside of the time that is taken.

    Args:
        scene: where.
        count: how many.
        by_default: whether the vectors lie as `vec0` lays them by default.
    """
    with scene.open() as plane:
        field = VectorField(store="main", collection="bulk", space=SpaceId("bulk"))
        plane.store_of(field).create(field, dimensions=vectors.DIMENSIONS, metric=Metric.COSINE)
    raw = RawClient(scene.store_file, "bulk")
    if by_default:
        raw.lay_out_by_default()
    seconds, number = 0.0, 1
    for batch in batches(documents(count), CHUNK_SIZE):
        made = vectors.new([document.text for document in batch])
        started = time.perf_counter()
        raw.load(batch, made, number)
        seconds += time.perf_counter() - started
        number += len(batch)
    raw.close()
    return count / seconds


def _embed_by_package(texts: list[str]) -> float:
    model = wordllama_package.load()
    model.embed(texts[:64], norm=True)
    return len(texts) / timed(lambda: model.embed(texts, norm=True))


def _embed_by_adapter(texts: list[str]) -> float:
    model = WordLlamaEmbedder()
    model.embed_documents(texts[:64])
    size = model.limits.batch_size

    def embed() -> None:
        for start in range(0, len(texts), size):
            model.embed_documents(texts[start : start + size])

    return len(texts) / timed(embed)


def _peak_mb() -> float:
    """Return the most memory this process had; Linux counts the parent's into `ru_maxrss` of a child."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
        return int(lines["VmHWM"].split()[0]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024**2 if sys.platform == "darwin" else peak / 1024
