"""Silent changes of a model: what finds them, what cries wolf, and what they are taken for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.canary_scene import Changes, Numbers, Provider, draw, exact, fleets, jitter, load, noisy
from undrift.domain.finding import Severity
from undrift.domain.probe import traits_of_stratum
from undrift.quality.canary import Floor, Look, Verdict, learn, look
from undrift.quality.diagnosis import diagnose

#: What other tools alarm on: the largest cosine distance of a single call to a single baseline call.
RULES = (5e-2, 1e-3, 1e-4)
#: What each change should be taken for; displacements in directions of their own have no name.
EXPECTED = {
    "w_fp16": "precision",
    "autocast_bf16": "precision",
    "w_int8_row": "precision",
    "int8 output": "precision",
    "wnoise_0.003": "weights",
    "ft_5": "weights",
    "pool_cls": "pooling",
    "prefix_query": "prefix",
    "trunc128": "truncation",
    "cased_bug": "case",
    "no_norm": "norm",
    "rotation, small": "rotation",
    "rotation": "rotation",
}
#: The noise of a provider, and how many calls its baseline has: one that is noisy wants more.
_FLOORS = {"exact": 4, "jitter 1e-5": 4, "fleet, by text": 4, "fleet, by request": 6, "repeats differ by 0.08": 6}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many baselines, how many looks by each without a change, and with one."""

    baselines: int
    looks: int
    changed: int


QUICK = Size(baselines=2, looks=3, changed=2)
FULL = Size(baselines=40, looks=80, changed=20)


def measure(_folder: Path, size: Size = FULL) -> str:
    """Return the tables: false alarms, power beside fixed thresholds, and the matrix of diagnoses."""
    changes = load()
    if changes is None:
        return "canary: the vectors probe_changes.npz are not at hand; BENCH_DATA names their folder"
    return "\n\n".join([_false_alarms(changes, size), _power(changes, size), _diagnoses(changes, size)])


def _providers(changes: Changes, rows: Sequence[int]) -> dict[str, Provider]:
    by_text, by_request = fleets(changes.changed["autocast_bf16"][rows] - changes.base[rows])
    kinds = (exact, jitter, by_text, by_request, noisy)
    return dict(zip(_FLOORS, kinds, strict=True))


def _looks(
    changes: Changes, *, noise: str, now: str, probes: int, baselines: int, looks: int, seed: int
) -> Iterator[tuple[list[int], Floor, Look, tuple[bool, ...]]]:
    """Yield looks at a changed model by baselines of the unchanged one, and what fixed thresholds say."""
    chance = np.random.default_rng(seed)
    for _ in range(baselines):
        rows = [int(row) for row in draw(chance, changes.strata, probes)]
        provider = _providers(changes, rows)[noise]
        calls = provider(chance, changes.base[rows], _FLOORS[noise]).astype(np.float32)
        floor = learn(calls)
        for _ in range(looks):
            fresh = provider(chance, changes.changed[now][rows], 2).astype(np.float32)
            farthest = _farthest(calls[0], fresh[0])
            yield rows, floor, look(floor, fresh), tuple(farthest > rule for rule in RULES)


def _farthest(then: Numbers, now: Numbers) -> float:
    one, other = (vectors / np.linalg.norm(vectors, axis=1)[:, None] for vectors in (then, now))
    return float(1 - (one * other).sum(axis=1).min())


def _false_alarms(changes: Changes, size: Size) -> str:
    rows = [("no change", "probes", "looks", "alarms", "warning or worse", "twice running", *map(_rule, RULES))]
    total = alarms = 0
    for noise in _FLOORS:
        for probes in (16, 32):
            seen = warned = twice = 0
            before = False
            fixed = np.zeros(len(RULES))
            for now in ("base", "bs1"):
                for _, _, one, others in _looks(
                    changes,
                    noise=noise,
                    now=now,
                    probes=probes,
                    baselines=size.baselines,
                    looks=size.looks,
                    seed=probes,
                ):
                    alarm = one.verdict is Verdict.CHANGED
                    seen += alarm
                    warned += alarm and one.severity is not Severity.INFO
                    twice += alarm and before
                    before = alarm
                    fixed += others
            looks = 2 * size.baselines * size.looks
            if noise != "fleet, by request":
                total, alarms = total + looks, alarms + seen
            shares = [f"{share:.1%}" for share in fixed / looks]
            rows.append((noise, str(probes), f"{looks:,}", str(seen), str(warned), str(twice), *shares))
    text = f"{alarms} false alarms in {total:,} looks, before confirmation, fleets by request aside"
    return f"{_table(rows)}\n{text}: {alarms / total:.1e} a look"


def _power(changes: Changes, size: Size) -> str:
    rows = [("share found", "size", "16 probes", "32 probes", *map(_rule, RULES), "noisy, 32 probes")]
    for name in changes.changed:
        if name in ("base", "bs1"):
            continue
        cells: dict[tuple[str, int], float] = {}
        fixed = np.zeros(len(RULES))
        for noise, probes in (("jitter 1e-5", 16), ("jitter 1e-5", 32), ("repeats differ by 0.08", 32)):
            found = 0
            for _, _, one, others in _looks(
                changes, noise=noise, now=name, probes=probes, baselines=size.changed, looks=3, seed=7
            ):
                found += one.verdict is Verdict.CHANGED
                if (noise, probes) == ("jitter 1e-5", 16):
                    fixed += others
            cells[noise, probes] = found / (3 * size.changed)
        shares = [f"{share:.2f}" for share in fixed / (3 * size.changed)]
        apart = changes.changed[name] / np.linalg.norm(changes.changed[name], axis=1)[:, None]
        distance = float(1 - (apart * changes.base).sum(axis=1).mean())
        numbers = [f"{cells[key]:.2f}" for key in cells]
        rows.append((name, f"{max(0.0, distance):.1e}", *numbers[:2], *shares, numbers[2]))
    return _table(rows)


def _diagnoses(changes: Changes, size: Size) -> str:
    rows = [("taken for", "should be", "right", "of", "else")]
    right = total = 0
    for name, expected in EXPECTED.items():
        said: Counter[str] = Counter()
        for noise in ("exact", "jitter 1e-5"):
            for probes in (16, 32):
                for drawn, floor, one, _ in _looks(
                    changes, noise=noise, now=name, probes=probes, baselines=size.changed, looks=1, seed=23
                ):
                    if one.verdict is Verdict.CHANGED:
                        traits = [traits_of_stratum(changes.strata[row]) for row in drawn]
                        said[diagnose(floor, one, traits).kind.value] += 1
        count = sum(said.values())
        right, total = right + said[expected], total + count
        others = ", ".join(f"{kind} {times}" for kind, times in said.most_common() if kind != expected)
        rows.append((name, expected, f"{said[expected] / max(1, count):.0%}", str(count), others))
    return f"{_table(rows)}\n{right} of {total} changes that were found are named rightly: {right / max(1, total):.1%}"


def _rule(limit: float) -> str:
    return f"fixed > {limit:g}"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)
