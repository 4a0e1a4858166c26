"""The verbs about probes: record a baseline, look, list."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from undrift.control.documents import Documents
from undrift.domain.baseline import Baseline, key_of, key_of_older
from undrift.domain.finding import Finding, Severity, State
from undrift.domain.probe import Probe
from undrift.domain.probe_texts import shipped
from undrift.domain.record import canonical_text
from undrift.domain.route import AliasName
from undrift.domain.space import SpaceId
from undrift.errors import (
    AlreadyExists,
    BadArgument,
    ControlUnavailable,
    ModelChanged,
    TransactionUndone,
    UndriftError,
)
from undrift.flow import canary
from undrift.flow.canary import OWN, Canary
from undrift.flow.jsonl import open_lines, read_objects
from undrift.flow.probe import vouch
from undrift.ports.store import Part
from undrift.quality.canary import Verdict, learn, look
from undrift.watch import probe
from undrift.watch.book import AlertBook

#: Documents that are read for each text that is drawn.
_LOOKED_THROUGH = 25


class Probing(Documents):
    """Keep baselines, and look at models by them."""

    def record_probes(
        self,
        model: str,
        *,
        repeats: int = 4,
        texts: Path | None = None,
        alias: str | None = None,
        drawn: int = 8,
        accept: bool = False,
        pause_s: float = 0.0,
        on_call: Callable[[int], None] = lambda _: None,
    ) -> dict[str, Any]:
        """Embed the probes several times, and keep them as what the model gives when it is trusted.

        Args:
            model: its name in the configuration.
            repeats: how many calls per probe.
            texts: a file of texts of the user's own, one in a line or JSON Lines with `text`.
            alias: the alias from whose documents `drawn` texts are taken as well.
            drawn: how many.
            accept: whether a baseline that is there gives way.
            pause_s: how long to wait between two calls, so that noise that comes and goes is in the baseline.
            on_call: told the number of each call before it.

        Raises:
            AlreadyExists: there is a baseline, and the new one was not accepted.
            BadArgument: there are too few texts, or calls.
            ModelChanged: the model is not what its space was recorded with, and the baseline was not accepted; or it
                was, and would make vectors that cannot stand beside those that are served.
        """
        door = self.model_door(model)
        before = self.ledger.recall(key_of(door.space.id))
        if before is not None and not accept:
            number = Baseline.from_text(before.text).number
            raise AlreadyExists(
                f"model {model} has a baseline already, number {number}",
                "a new one makes what the model gives now the truth",
                f"undrift probe record {model} --accept",
            )
        if not accept:
            vouch(door, self.recorded(model).probes, 2, model)
        probes = [*shipped(), *(_own(texts) if texts else ()), *(self._drawn(alias, drawn) if alias else ())]

        def wait(number: int) -> None:
            on_call(number)
            if pause_s:
                self.clock.sleep(pause_s)

        on_call(0)
        made = canary.record(door, probes, model=model, repeats=repeats, moment=self.clock.now(), wait=wait)
        version = 0
        if before is not None:
            old, version = Baseline.from_text(before.text), before.version
            self._require_mixable(old, made)
            made = canary.renumbered(made, old.number + 1)
            self.ledger.remember(key_of_older(old.space, old.number), before.text, version=0)
        if not self.ledger.remember(key_of(door.space.id), made.as_text(), version=version):
            raise TransactionUndone(
                f"somebody else recorded a baseline of model {model} meanwhile", hint="undrift probe list"
            )
        self.forget_proof(door.space.id)
        AlertBook(self.ledger).settle(probe.CHECK, model, self.clock.now(), f"baseline {made.number} was recorded")
        return {**self._baseline(made), "next_steps": [f"undrift probe run {model}"]}

    def run_probes(self, models: Sequence[str] = ()) -> list[dict[str, Any]]:
        """Look at models now; by default at all that have a baseline.

        Raises:
            BadArgument: a named model has no baseline.
        """
        return [self._probed(name).shown for name in models or self._watched()]

    def probe_findings(self) -> list[Finding]:
        """Look at every model that has a baseline, for the look-out."""
        return [self._found_of(name) for name in self._watched()]

    def probe_lists(self) -> list[dict[str, Any]]:
        """Return each configured model with its baseline and its last look, without calling any of them."""
        found = []
        for memo in self.ledger.recall_all(key_of(SpaceId(""))):
            baseline = Baseline.from_text(memo.text)
            last = self.ledger.observed(probe.series_of(baseline.space), limit=1)
            seen = json.loads(last[0].text) if last else None
            found.append(
                {
                    **self._baseline(baseline),
                    "last_look": last[0].moment.isoformat() if last else None,
                    "verdict": seen["verdict"] if seen else None,
                    "displacement": seen["displacement"] if seen else None,
                }
            )
        return found

    def _require_mixable(self, old: Baseline, made: Baseline) -> None:
        """Pass when vectors of both baselines may stand beside each other, or when nothing is stored of their space.

        Raises:
            ModelChanged: they may not, and an alias is served from the space.
        """
        rows = {one.text: row for row, one in enumerate(made.probes)}
        both = [(row, rows[one.text]) for row, one in enumerate(old.probes) if one.text in rows]
        serves = [alias for alias in self.ledger.aliases() if self._serves(alias) == old.space]
        if not both or not serves:
            return
        left, right = zip(*both, strict=True)
        seen = look(learn(old.calls[:, left]), made.calls[:2, right])
        if seen.verdict is Verdict.CHANGED and seen.severity in (Severity.ERROR, Severity.CRITICAL):
            raise ModelChanged(
                f"what model {made.model} gives now cannot be accepted: it serves {', '.join(serves)}",
                f"new vectors would be {seen.size:.1e} from the stored ones of the same texts",
                "add it as another model and migrate: undrift plan ALIAS --to MODEL",
            )

    def _watched(self) -> list[str]:
        """Return the configured models that have a baseline."""
        kept = {Baseline.from_text(memo.text).model for memo in self.ledger.recall_all(key_of(SpaceId("")))}
        return sorted(kept & set(self.config.settings.models))

    def _found_of(self, model: str) -> Finding:
        """Look at a model; one that cannot be asked does not keep the others from it."""
        try:
            return self._probed(model).finding
        except ControlUnavailable:
            raise
        except UndriftError as error:
            return Finding(
                check=probe.CHECK,
                subject=model,
                state=State.UNKNOWN,
                severity=Severity.INFO,
                moment=self.clock.now(),
                words=error.message,
                detail=error.detail,
                hint=error.hint,
            )

    def _probed(self, model: str) -> probe.Probed:
        door = self.model_door(model)
        baseline = self.baseline_of(door.space.id)
        if baseline is None:
            raise BadArgument(f"model {model} has no baseline", hint=f"undrift probe record {model}")
        return probe.look(Canary(door, baseline), model=model, ledger=self.ledger, moment=self.clock.now())

    def _baseline(self, baseline: Baseline) -> dict[str, Any]:
        floor = learn(baseline.calls)
        strata = [one.stratum for one in baseline.probes]
        return {
            "model": baseline.model,
            "space": baseline.space,
            "baseline": baseline.number,
            "recorded": baseline.recorded.isoformat(),
            "probes": len(strata),
            "strata": {name: strata.count(name) for name in dict.fromkeys(strata)},
            "left_out": baseline.left_out,
            "repeats": len(baseline.calls),
            "noise_floor": floor.noise,
            "fleet": floor.fleet,
            "rounding": floor.grid.value,
        }

    def _drawn(self, alias: str, count: int) -> list[Probe]:
        """Return texts of an alias's documents, spread over its ids."""
        serving = self.router.join(AliasName(alias)).serving
        entries = self.store_of(serving).scan(serving, limit=count * _LOOKED_THROUGH, parts=Part.TEXT)
        texts = list(dict.fromkeys(entry.text for entry in entries if entry.text and entry.text.strip()))
        step = max(1, len(texts) // count)
        return [Probe(text=text, stratum=OWN) for text in texts[::step][:count]]


def _own(file: Path) -> list[Probe]:
    """Read texts, one in a line, or JSON Lines with a `text` in each."""
    with open_lines(file) as lines:
        rows = [line for line in lines if line.strip()]
    if rows and rows[0].lstrip().startswith("{"):
        texts = [fields.get("text") for _, fields in read_objects(iter(rows), str(file))]
    else:
        texts = [row.strip() for row in rows]
    wrong = [place for place, text in enumerate(texts, 1) if not isinstance(text, str) or not canonical_text(text)]
    if wrong or not texts:
        raise BadArgument(
            f"{file} has no text in line {wrong[0]}" if wrong else f"{file} has no texts",
            hint='one text in a line, or {"text": "…"}',
        )
    return [Probe(text=text, stratum=OWN) for text in dict.fromkeys(map(str, texts))]
