"""The verb `model promote`: which gates a model has to pass, and the migration that it opens."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from undrift.control.judging import Judging, comparison_key, fingerprint_of
from undrift.domain.gate import Gate, Verdict, require
from undrift.domain.lineage import Lineage, Promotion
from undrift.domain.route import AliasName, VectorField
from undrift.errors import BadArgument, UndriftError
from undrift.quality.paired import Gain

#: After so long a comparison says nothing about the collection any more.
COMPARISON_VALID = timedelta(days=7)
#: The same when so large a share of the documents has come or gone since.
MAX_CHANGED = 0.1


class Promoting(Judging):
    """Promote."""

    def promote_model(
        self,
        model: str,
        alias: str,
        *,
        reason: str,
        margin: float = 0.0,
        author: str = "",
        dry_run: bool = False,
        budget_usd: float | None = None,
        budget_tokens: int | None = None,
        unlimited: bool = False,
        on_warning: Callable[[str], None] = lambda _: None,
    ) -> dict[str, Any]:
        """Open the migration of an alias to a model, when every gate holds; who did it and why is recorded.

        Args:
            model: the model.
            alias: the alias that it is to serve.
            reason: why.
            margin: so much worse it may be, in nDCG; with 0 it has to be shown to be better.
            author: who promotes it; who runs this process by default.
            dry_run: look at the gates, and change nothing.
            budget_usd: most dollars that the migration may cost; so the next two, as for `register`.
            budget_tokens: most tokens.
            unlimited: a paid model may cost what it costs.
            on_warning: told that the budget may not be enough.

        Raises:
            GateFailed: some gates do not hold; all of them are listed.
            BadArgument: no reason is given, or the margin is no share.
        """
        if not reason.strip():
            raise BadArgument(
                f"promotion of {model} needs a reason",
                hint=f"undrift model promote {model} --alias {alias} --reason WHY",
            )
        if not 0 <= margin < 1:
            raise BadArgument(f"a margin of {margin:g} is not within 0 and 1", hint="--margin 0.01")
        serving = self.router.join(AliasName(alias)).serving
        lineage = self.lineages.read()
        gates = [
            self._is_recorded(model, lineage),
            self._is_proven(model),
            self._is_another(model, alias, serving),
            *self._compared(model, alias, serving, margin),
            self._is_free(model, alias),
        ]
        allowed = all(gate.verdict is Verdict.PASS for gate in gates)
        value = {
            "model": model,
            "alias": alias,
            "replaces": self._recorded_name(serving.space),
            "reason": reason.strip(),
            "author": author.strip() or self._who(),
            "margin": margin,
            "gates": [gate.as_dict() for gate in gates],
            "allowed": allowed,
            "migration": None,
            "next_steps": [f"undrift start {alias} --to {model}"]
            if allowed
            else list(dict.fromkeys(gate.hint for gate in gates if gate.hint)),
        }
        if dry_run:
            return value
        require(gates, verb="promotion", alias=f"{model} for {alias}")
        migration = self.register(
            alias,
            model,
            budget_usd=budget_usd,
            budget_tokens=budget_tokens,
            unlimited=unlimited,
            on_warning=on_warning,
        )
        if not any(told.migration == migration.id for told in lineage.promotions(model)):
            self.lineages.add(
                Promotion(
                    model=model,
                    alias=alias,
                    replaced=str(value["replaces"]),
                    migration=migration.id,
                    author=str(value["author"]),
                    reason=reason.strip(),
                    moment=self.clock.now(),
                )
            )
        return {**value, "migration": migration.id, "next_steps": [migration.command, f"undrift status {alias}"]}

    def _is_recorded(self, model: str, lineage: Lineage) -> Gate:
        known = lineage.checkpoints.get(model)
        if known is None:
            detail = f"the lineage does not say where {model} comes from"
            return _gate("recorded", Verdict.UNKNOWN, detail, f"undrift model record {model}")
        if lineage.is_retired(model):
            return _gate("recorded", Verdict.FAIL, f"{model} is retired", f"undrift model lineage {model} --history")
        return _gate("recorded", Verdict.PASS, f"checkpoint {known.hash}")

    def _is_proven(self, model: str) -> Gate:
        try:
            self.recorded(model)
            self.require_servable(model)
        except UndriftError as error:
            return _gate("proven", Verdict.FAIL, error.message, error.hint)
        return _gate("proven", Verdict.PASS, "it gives the vectors that its space was recorded with")

    def _is_another(self, model: str, alias: str, serving: VectorField) -> Gate:
        space = self.model_door(model).space.id
        same = space == serving.space
        detail = f"{alias} is served by its vectors already" if same else f"a new space for {alias}: {space}"
        return _gate("another space", Verdict.FAIL if same else Verdict.PASS, detail, f"undrift status {alias}")

    def _is_free(self, model: str, alias: str) -> Gate:
        state = self.ledger.alias(AliasName(alias))
        running = state.migration if state is not None else None
        if running is None or running.is_final:
            return _gate("no other migration", Verdict.PASS, f"no migration of {alias} runs")
        if running.target_model == model and not running.is_selftest:
            return _gate("no other migration", Verdict.PASS, f"the migration to {model} runs already")
        detail = f"a migration to {running.aim} runs, in phase {running.phase.value}"
        return _gate("no other migration", Verdict.FAIL, detail, f"undrift status {alias}")

    def _compared(self, model: str, alias: str, serving: VectorField, margin: float) -> list[Gate]:
        """Return a gate for each golden set that any model was compared by on this alias; one at least.

        So nobody passes by leaving out the set on which a model is worse.
        """
        names = [
            name for name in self.ledger.golden_names() if any(self.ledger.recall_all(comparison_key(alias, name, "")))
        ]
        if not names:
            known = self.ledger.golden_names()
            first = known[0] if known else "SET"
            hint = f"undrift golden compare {first} {alias} --model {model}"
            detail = f"no comparison of {model} with what serves {alias}"
            return [
                _gate("compared", Verdict.UNKNOWN, detail, hint if known else f"undrift golden import SET, then {hint}")
            ]
        return [self._compared_by(name, model, alias, serving, margin) for name in names]

    def _compared_by(self, name: str, model: str, alias: str, serving: VectorField, margin: float) -> Gate:
        title, hint = f"compared by {name}", f"undrift golden compare {name} {alias} --model {model}"
        memo = self.ledger.recall(comparison_key(alias, name, model))
        if memo is None:
            return _gate(title, Verdict.UNKNOWN, f"{model} was never compared by it", hint)
        evidence = json.loads(memo.text)
        old = self._outdated(evidence, name, model, serving)
        if old:
            return _gate(title, Verdict.STALE, old, hint)
        gain = Gain.of(evidence["differences"])
        words = (
            f"{evidence['metric']} {gain.mean:+.4f} ({gain.low:+.4f} to {gain.high:+.4f}) over "
            f"{len(gain.differences)} queries and {evidence['documents']} documents, against {evidence['against']}"
        )
        if gain.is_no_worse(margin):
            return _gate(title, Verdict.PASS, words)
        wanted = f"worse by less than {margin:g}" if margin else "better"
        why = f"not shown to be {wanted} (p = {gain.p_worse(margin):.3f}): {words}"
        return _gate(title, Verdict.FAIL, why, f"train again, or judge more queries, then {hint}")

    def _outdated(self, evidence: dict[str, Any], name: str, model: str, serving: VectorField) -> str:
        """Say why a comparison tells nothing about now; empty when it does."""
        age = self.clock.now() - datetime.fromisoformat(evidence["moment"])
        if evidence["against_space"] != serving.space:
            return f"another model has served since: it was compared with {evidence['against']}"
        if evidence["space"] != self.model_door(model).space.id:
            return f"{model} was another checkpoint then"
        if evidence["golden"] != fingerprint_of(self.golden(name)):
            return f"golden set {name} has changed since"
        if age > COMPARISON_VALID:
            return f"it is {age.days} days old, at most {COMPARISON_VALID.days} are allowed"
        there = self.store_of(serving).describe(serving)
        count = there.count if there is not None else 0
        if abs(count - evidence["of"]) > MAX_CHANGED * evidence["of"]:
            return f"there were {evidence['of']} documents then, and there are {count}"
        return ""


def _gate(name: str, verdict: Verdict, detail: str, hint: str = "") -> Gate:
    return Gate(name=name, verdict=verdict, detail=detail, hint="" if verdict is Verdict.PASS else hint)
