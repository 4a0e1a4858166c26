"""Looking at one model by its baseline: what the look-out calls, and what `probe run` shows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from undrift.domain.finding import Finding, Severity, State
from undrift.domain.space import SpaceId
from undrift.domain.wording import plural
from undrift.errors import ControlUnavailable, UndriftError
from undrift.flow.canary import Canary, Judgement
from undrift.ports.memory import MemoryLedger
from undrift.quality.canary import ALPHA, Verdict

#: What a finding of this check is called.
CHECK = "probe"
#: Looks that are kept of a model; a year of hourly ones.
_KEPT = 9_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What one look at a model found, in the form that is kept.

    Attributes:
        finding: for the look-out.
        shown: the JSON form of the command.
    """

    finding: Finding
    shown: dict[str, Any]


def series_of(space: SpaceId) -> str:
    """Return the series in which the looks at the model of a space are kept."""
    return f"probe/looks/{space}"


def look(canary: Canary, *, model: str, ledger: MemoryLedger, moment: datetime) -> Probed:
    """Look at a model, keep what was found, and say it.

    A model that does not answer is not known to be good or bad.

    Args:
        canary: its baseline and the door to it.
        model: its name in the configuration.
        ledger: where looks are kept.
        moment: the wall clock now.
    """
    try:
        judged = canary.judge()
    except ControlUnavailable:
        raise
    except UndriftError as error:
        finding = Finding(
            check=CHECK,
            subject=model,
            state=State.UNKNOWN,
            severity=Severity.INFO,
            moment=moment,
            words=f"model {model} could not be looked at: {error.message}",
            detail=error.detail,
            hint=error.hint or f"undrift model show {model}",
        )
        return Probed(finding=finding, shown=unknown(canary, model, finding.words))
    shown = as_dict(canary, judged, model)
    ledger.observe(series_of(canary.baseline.space), moment, json.dumps(shown, ensure_ascii=False), keep=_KEPT)
    return Probed(finding=_finding(canary, judged, model, moment), shown=shown)


def as_dict(canary: Canary, judged: Judgement, model: str) -> dict[str, Any]:
    """Return the JSON form of a judgement."""
    seen, diagnosis = judged.look, judged.diagnosis
    strata = [probe.stratum for probe in canary.baseline.probes]
    return {
        "model": model,
        "space": canary.baseline.space,
        "baseline": canary.baseline.number,
        "probes": len(strata),
        "statistic": seen.p_value,
        "threshold": ALPHA,
        "verdict": judged.verdict.value,
        "noise_floor": canary.floor.noise,
        "cosine": {"mean": float(seen.cosines.mean()), "min": float(seen.cosines.min())},
        "displacement": seen.size,
        "by_stratum": seen.by_stratum(strata),
        "moved": int(seen.jumped.sum()),
        "exactly_equal": seen.equal,
        "broken": [broken.value for broken in seen.broken],
        "severity": seen.severity.value if judged.verdict is Verdict.CHANGED else None,
        "looks": judged.looks,
        "diagnosis": None
        if diagnosis is None
        else {
            "kind": diagnosis.kind.value,
            "sure": diagnosis.sure,
            "words": diagnosis.words,
            "evidence": dict(diagnosis.evidence),
        },
        "next_steps": next_steps(judged, model),
    }


def unknown(canary: Canary, model: str, words: str) -> dict[str, Any]:
    """Return the JSON form where the model could not be looked at."""
    return {
        "model": model,
        "space": canary.baseline.space,
        "baseline": canary.baseline.number,
        "probes": len(canary.baseline.probes),
        "statistic": None,
        "threshold": ALPHA,
        "verdict": Verdict.UNKNOWN.value,
        "noise_floor": canary.floor.noise,
        "cosine": None,
        "diagnosis": None,
        "problem": words,
        "next_steps": [f"undrift probe run {model}"],
    }


def next_steps(judged: Judgement, model: str) -> list[str]:
    """Return what to type after a look."""
    if judged.verdict is not Verdict.CHANGED:
        return []
    if judged.look.severity is Severity.INFO:
        return [f"undrift probe record {model} --accept"]
    return [
        "undrift alias audit ALIAS",
        "undrift plan ALIAS --to MODEL",
        f"undrift probe record {model} --accept",
    ]


def _finding(canary: Canary, judged: Judgement, model: str, moment: datetime) -> Finding:
    seen, diagnosis = judged.look, judged.diagnosis
    state = {Verdict.UNCHANGED: State.GOOD, Verdict.CHANGED: State.BAD, Verdict.UNKNOWN: State.UNKNOWN}[judged.verdict]
    words = {
        Verdict.UNCHANGED: f"model {model} gives the vectors that it gave",
        Verdict.CHANGED: f"model {model} has changed silently, by {seen.size:.1e} on average",
        Verdict.UNKNOWN: f"{plural(len(canary.baseline.probes), 'probe')} are too few to say whether {model} changed",
    }[judged.verdict]
    if diagnosis is not None:
        words += f"; it looks like {diagnosis.words}"
    strata = seen.by_stratum([probe.stratum for probe in canary.baseline.probes])
    return Finding(
        check=CHECK,
        subject=model,
        state=state,
        severity=seen.severity if judged.verdict is Verdict.CHANGED else Severity.INFO,
        moment=moment,
        words=words,
        detail=_detail(strata) if judged.verdict is Verdict.CHANGED else "",
        hint=f"undrift probe run {model}" if judged.verdict is Verdict.CHANGED else "",
        figures={
            "displacement_ratio": seen.size,
            "p_value": seen.p_value,
            "noise_ratio": canary.floor.noise,
            "moved_probes": float(seen.jumped.sum()),
            "least_cosine": float(seen.cosines.min()),
            **{f"displacement_ratio_{name}": value for name, value in strata.items()},
        },
    )


def _detail(strata: Mapping[str, float]) -> str:
    worst = sorted(strata.items(), key=lambda item: -item[1])
    return "\n".join(f"{name}: {value:.1e}" for name, value in worst)
