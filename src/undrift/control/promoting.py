"""The verbs that decide for a model: compare it with the one that serves, and promote it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from undrift.control.ancestry import Ancestry
from undrift.control.migrations import Migrations
from undrift.domain.gate import Gate, Verdict, require
from undrift.domain.lineage import Evaluation, Lineage, Promotion
from undrift.domain.record import DocumentId
from undrift.domain.route import AliasName, VectorField
from undrift.errors import BadArgument, UndriftError
from undrift.flow.embed import EmbeddingDoor
from undrift.migrate import sampling
from undrift.quality.golden import GoldenSet
from undrift.quality.paired import Gain, fell_most, gains, nearest
from undrift.quality.ranking import Measures, measure

#: After so long a comparison says nothing about the collection any more.
COMPARISON_VALID = timedelta(days=7)
#: The same when so large a share of the documents has come or gone since.
MAX_CHANGED = 0.1
#: Documents that a comparison embeds, unless it is told otherwise.
DOCUMENTS = 20_000
#: Texts embedded at a time, so that somebody can be told how far it is.
_BATCH = 256

OnProgress = Callable[[int, int], None]


def _unheard(_done: int, _total: int) -> None:
    """Tell nobody."""


class Promoting(Ancestry, Migrations):
    """Compare and promote."""

    def compare_golden(
        self,
        golden_name: str,
        alias: str,
        model: str,
        *,
        k: int = 10,
        documents: int = DOCUMENTS,
        budget_usd: float | None = None,
        budget_tokens: int | None = None,
        unlimited: bool = False,
        on_progress: OnProgress = _unheard,
    ) -> dict[str, Any]:
        """Measure a model and the one that serves an alias by the same queries and documents, and keep the result.

        The documents are embedded with the new model and searched exactly, in memory; the vectors of the other are
        those that serve. Of a large collection, those that the golden set judges and a random choice are taken.

        Args:
            golden_name: the golden set.
            alias: whose documents are searched.
            model: the model that is to be judged.
            k: how many hits of each query count.
            documents: most documents to embed.
            budget_usd: most dollars for a paid model.
            budget_tokens: most tokens.
            unlimited: a paid model may cost what it costs.
            on_progress: told how many texts are embedded, of how many.

        Raises:
            BadArgument: there is no such set, none of its relevant documents is in the alias, or the model serves it.
            BudgetRequired: the model is paid for, and nobody said how much it may cost.
        """
        golden = self.golden(golden_name)
        place = self.router.join(AliasName(alias)).serving
        old, new = self.door_of(place.space), self.door_of(self.recorded(model).space.id)
        if new.space.id == place.space:
            raise BadArgument(
                f"model {model} gives the very vectors that serve {alias}; there is nothing to compare",
                hint=f"undrift golden run {golden_name} {alias}",
            )
        allowance = sampling.Allowance(
            new,
            tokens=budget_tokens,
            usd=budget_usd,
            unlimited=unlimited,
            what=f"a comparison of {model} on {alias}",
        )
        ids, texts, served, total = self._documents_of(place, golden, documents)
        made, kept = _embedded(new, texts, allowance, on_progress)
        ids = [ids[row] for row in kept]
        before = measure(golden, _rankings(golden, old, served[kept], ids, k), k=k)
        after = measure(golden, _rankings(golden, new, made, ids, k), k=k)
        found = gains(before, after)
        metric = f"ndcg_at_{k}"
        evidence: dict[str, Any] = {
            "set": golden_name,
            "golden": _fingerprint(golden),
            "alias": alias,
            "model": model,
            "space": new.space.id,
            "against": self._recorded_name(place.space),
            "against_space": place.space,
            "metric": metric,
            "documents": len(ids),
            "of": total,
            "moment": self.clock.now().isoformat(),
            "differences": found[metric].differences.tolist(),
        }
        self._keep(_key(alias, golden_name, model), json.dumps(evidence))
        self._evaluated(evidence, after, found[metric])
        return {
            **{key: value for key, value in evidence.items() if key not in ("differences", "golden")},
            "k": k,
            "queries": len(before.by_query),
            "unjudged": before.unjudged,
            "tokens": allowance.spent,
            "before": before.as_dict(place.space),
            "after": after.as_dict(new.space.id),
            "gains": {
                name: {"mean": gain.mean, "ci95": [gain.low, gain.high], "p_no_better": gain.p_worse(0.0)}
                for name, gain in found.items()
            },
            "verdict": _verdict(found[metric]),
            "fell_most": fell_most(before, after),
            "next_steps": [f"undrift model promote {model} --alias {alias} --reason WHY"],
        }

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

    def _documents_of(
        self, place: VectorField, golden: GoldenSet, most: int
    ) -> tuple[list[str], list[str], NDArray[np.float32], int]:
        """Return ids, texts and serving vectors of the documents to compare by, and how many there are in all."""
        store = self.store_of(place)
        relevant = sorted({id for query in golden.judged for id, grade in query.relevant.items() if grade > 0})
        (chosen,), total = sampling.choose(store, place, [most], salt=golden.name, on_progress=lambda _: None)
        judged = {DocumentId(id) for id in relevant}
        # The judged ones first: without them nothing can be found.
        wanted = [*sorted(judged), *(id for id in chosen if id not in judged)][: max(most, len(judged))]
        records = [record for page in sampling.read(store, place, wanted) for record in page]
        if not any(record.id in judged for record in records):
            raise BadArgument(
                f"no document that golden set {golden.name} judges is in {place.key}",
                f"it names {len(relevant)} of them, such as {', '.join(relevant[:3])}",
                "judge documents by the ids that they have in the alias",
            )
        vectors = np.stack([record.vector for record in records])
        return [record.id for record in records], [record.text for record in records], vectors, total

    def _evaluated(self, evidence: dict[str, Any], after: Measures, gain: Gain) -> None:
        """Put a comparison into the lineage of the model that was judged."""
        self.lineages.add(
            Evaluation(
                model=evidence["model"],
                golden=evidence["set"],
                metric=evidence["metric"],
                value=after.ndcg.mean,
                low=min(after.ndcg.low, after.ndcg.mean),
                high=max(after.ndcg.high, after.ndcg.mean),
                queries=len(after.by_query),
                against=evidence["against"],
                gain=gain.mean,
                gain_low=gain.low,
                gain_high=gain.high,
                moment=self.clock.now(),
            )
        )

    def _keep(self, key: str, text: str) -> None:
        """Write a memo over whatever is there: the last comparison counts."""
        while True:
            there = self.ledger.recall(key)
            if self.ledger.remember(key, text, version=there.version if there is not None else 0):
                return

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
        names = [name for name in self.ledger.golden_names() if any(self.ledger.recall_all(_key(alias, name, "")))]
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
        memo = self.ledger.recall(_key(alias, name, model))
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
        if evidence["golden"] != _fingerprint(self.golden(name)):
            return f"golden set {name} has changed since"
        if age > COMPARISON_VALID:
            return f"it is {age.days} days old, at most {COMPARISON_VALID.days} are allowed"
        there = self.store_of(serving).describe(serving)
        count = there.count if there is not None else 0
        if abs(count - evidence["of"]) > MAX_CHANGED * evidence["of"]:
            return f"there were {evidence['of']} documents then, and there are {count}"
        return ""


def _embedded(
    door: EmbeddingDoor, texts: list[str], allowance: sampling.Allowance, on_progress: OnProgress
) -> tuple[NDArray[np.float32], list[int]]:
    """Embed texts, and return the vectors of those that the model takes, with their rows."""
    blocks, kept = [np.empty((0, door.space.dimensions), dtype=np.float32)], []
    for start in range(0, len(texts), _BATCH):
        embedded = door.documents(texts[start : start + _BATCH], purse=allowance)
        good = [row for row in range(len(embedded.vectors)) if row not in embedded.failures]
        blocks.append(embedded.vectors[good])
        kept += [start + row for row in good]
        on_progress(min(start + _BATCH, len(texts)), len(texts))
    return np.concatenate(blocks), kept


def _rankings(
    golden: GoldenSet, door: EmbeddingDoor, vectors: NDArray[np.float32], ids: list[str], k: int
) -> dict[str, list[tuple[str, float]]]:
    """Search for every golden query among vectors of a model's space."""
    asked = np.stack([door.query(query.text) for query in golden.judged])
    found = nearest(asked, vectors, ids, metric=door.space.metric, k=k)
    return dict(zip((query.id for query in golden.judged), found, strict=True))


def _fingerprint(golden: GoldenSet) -> str:
    text = json.dumps(golden.as_dict(), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _key(alias: str, golden: str, model: str) -> str:
    return "comparison/" + "/".join(quote(part, safe="") for part in (alias, golden, model))


def _gate(name: str, verdict: Verdict, detail: str, hint: str = "") -> Gate:
    return Gate(name=name, verdict=verdict, detail=detail, hint="" if verdict is Verdict.PASS else hint)


def _verdict(gain: Gain) -> str:
    if gain.is_no_worse(0.0):
        return "better"
    return "worse" if Gain.of((-gain.differences).tolist()).is_no_worse(0.0) else "not told apart"
