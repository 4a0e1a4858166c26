"""Every contestant on every trace, and the table that comes of it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.trace.checker import Score
from benchmarks.trace.corpora import standard_library_trace, tldr_trace
from benchmarks.trace.events import Trace
from benchmarks.trace.models import Kept, kept_models
from benchmarks.trace.ours import Undrift
from benchmarks.trace.published import NotAvailable, VectorMigrate, fetch
from benchmarks.trace.recipes import DualWrite, NamedVectors, Script
from benchmarks.trace.stage import Contestant, Stage

Make = Callable[[Stage, Mapping[str, Kept], Path], Contestant]

#: What needs nothing but this repository, in the order of the table.
CONTESTANTS: dict[str, Make] = {
    "a  re-embed script": lambda stage, _models, _folder: Script(stage),
    "b  dual write, insert if absent": lambda stage, _models, _folder: DualWrite(stage),
    "b1 same, both written to the end": lambda stage, _models, _folder: DualWrite(stage, to_the_end=True),
    "b2 same, deletes and merges wait": lambda stage, _models, _folder: DualWrite(stage, hold_back=True),
    "c  named vectors": lambda stage, _models, _folder: NamedVectors(stage),
    "e  undrift": Undrift,
}
PUBLISHED = {"d  vectormigrate 1.0.1": False, "d1 same, both written by hand": True}
_HEADS = {
    "lost": "lost",
    "resurrected": "resurrected",
    "stale": "stale",
    "mixed": "mixed",
    "wrong_model": "wrong model",
    "undone": "undone",
    "paid_twice": "paid twice",
    "failed": "failed",
    "held_back": "held back",
    "tokens": "tokens",
}
#: Columns of tokens: only the sum is shown, in thousands.
_LARGE = frozenset({"paid_twice", "tokens"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is played.

    Attributes:
        made_up: so many traces over the documentation of the standard library.
        real: so many traces of real changes, where they are there.
        documents: of the standard library; all of them by default.
    """

    made_up: int
    real: int
    documents: int | None = None


FULL = Size(made_up=5, real=2)
QUICK = Size(made_up=2, real=0, documents=600)


def measure(folder: Path, size: Size) -> str:
    """Play everything and return the tables.

    Args:
        folder: where files may be made.
        size: how much.
    """
    models = kept_models()
    contestants, absent = _all_contestants(folder)
    texts = []
    for name, traces in _traces(size).items():
        if not traces:
            texts.append(f"{name}: not here; its data set is not beside this checkout")
            continue
        scores: dict[str, list[Score]] = {}
        for contestant, make in contestants.items():
            print(f"\n  {name}: {contestant} …", end=" ", file=sys.stderr, flush=True)
            scores[contestant] = [play(make, trace, models, folder) for trace in traces]
        texts.append(f"{_described(traces)}\n{rendered(scores, absent)}")
    return "\n\n".join(texts)


def play(make: Make, trace: Trace, models: Mapping[str, Kept], folder: Path) -> Score:
    """Let one contestant meet one trace."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        stage = Stage(trace, models)
        contestant = make(stage, models, Path(place))
        try:
            return stage.play(contestant)
        finally:
            contestant.close()


def rendered(scores: Mapping[str, Sequence[Score]], absent: Mapping[str, str]) -> str:
    """Return the sum over the seeds, and from what to what it went, for each contestant."""
    lines = [("", *_HEADS.values())]
    for name in sorted([*scores, *absent]):
        if name in absent:
            lines.append((name, f"not available here: {absent[name]}", *[""] * (len(_HEADS) - 1)))
            continue
        columns = {key: [getattr(score, key) for score in scores[name]] for key in _HEADS}
        cells = (_sum(values) if key in _LARGE else _spread(values) for key, values in columns.items())
        lines.append((name, *cells))
    widths = [max(len(line[0]) for line in lines)]
    widths += [max(len(line[place]) for line in lines if line[0] not in absent) for place in range(1, len(_HEADS) + 1)]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    )


def _spread(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{sum(values):,}" if low == high else f"{sum(values):,} ({low:,}-{high:,})"


def _sum(values: Sequence[int]) -> str:
    total = sum(values)
    return f"{total / 1000:,.0f}k" if total >= 10_000 else f"{total:,}"


def _traces(size: Size) -> dict[str, list[Trace]]:
    found: dict[str, list[Trace]] = {}
    if size.made_up:
        seeds = range(size.made_up)
        found["standard library"] = [standard_library_trace(seed, documents=size.documents) for seed in seeds]
    if size.real:
        found["tldr pages"] = [trace for seed in range(size.real) if (trace := tldr_trace(seed)) is not None]
    return found


def _described(traces: Sequence[Trace]) -> str:
    events = sum(len(trace.events) for trace in traces)
    return (
        f"{traces[0].corpus}: {len(traces)} traces of {len(traces[0].base):,} documents and {events // len(traces):,} "
        f"events, batches of {traces[0].batch}; sums over the traces (least-most)"
    )


def _all_contestants(folder: Path) -> tuple[dict[str, Make], dict[str, str]]:
    try:
        package = fetch(folder)
    except NotAvailable as error:
        return CONTESTANTS, dict.fromkeys(PUBLISHED, str(error))
    published: dict[str, Make] = {name: partial(_published, package, hand) for name, hand in PUBLISHED.items()}
    return {**CONTESTANTS, **published}, {}


def _published(package: Any, by_hand: bool, stage: Stage, models: Mapping[str, Kept], folder: Path) -> Contestant:
    return VectorMigrate(stage, package, folder, by_hand=by_hand)
