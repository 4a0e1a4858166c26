"""The verb that compares a model with the one that serves, before any migration, and keeps what it finds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from undrift.control.ancestry import Ancestry
from undrift.control.migrations import Migrations
from undrift.domain.lineage import Evaluation
from undrift.domain.record import DocumentId
from undrift.domain.route import AliasName, VectorField
from undrift.errors import BadArgument
from undrift.flow.embed import EmbeddingDoor
from undrift.migrate import sampling
from undrift.quality.golden import GoldenSet
from undrift.quality.paired import Gain, fell_most, gains, nearest
from undrift.quality.ranking import Measures, measure

#: Documents that a comparison embeds, unless it is told otherwise.
DOCUMENTS = 20_000
#: Texts embedded at a time, so that somebody can be told how far it is.
_BATCH = 256

OnProgress = Callable[[int, int], None]


def _unheard(_done: int, _total: int) -> None:
    """Tell nobody."""


class Judging(Ancestry, Migrations):
    """Compare."""

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
        before = measure(golden, _rankings(golden, old, served, ids, k), k=k)
        # What the new model refuses would be missing after a migration, so it cannot be found here either.
        after = measure(golden, _rankings(golden, new, made, [ids[row] for row in kept], k), k=k)
        found = gains(before, after)
        metric = f"ndcg_at_{k}"
        evidence: dict[str, Any] = {
            "set": golden_name,
            "golden": fingerprint_of(golden),
            "alias": alias,
            "model": model,
            "space": new.space.id,
            "against": self._recorded_name(place.space),
            "against_space": place.space,
            "metric": metric,
            "documents": len(ids),
            "refused": len(ids) - len(kept),
            "of": total,
            "moment": self.clock.now().isoformat(),
            "differences": found[metric].differences.tolist(),
        }
        self._keep(comparison_key(alias, golden_name, model), json.dumps(evidence))
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


def fingerprint_of(golden: GoldenSet) -> str:
    """Return a hash of a golden set's queries and judgements."""
    text = json.dumps(golden.as_dict(), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def comparison_key(alias: str, golden: str, model: str) -> str:
    """Return the key of what was found; without a model, the beginning of those of every model."""
    return "comparison/" + "/".join(quote(part, safe="") for part in (alias, golden, model))


def _verdict(gain: Gain) -> str:
    if gain.is_no_worse(0.0):
        return "better"
    return "worse" if Gain.of((-gain.differences).tolist()).is_no_worse(0.0) else "not told apart"
