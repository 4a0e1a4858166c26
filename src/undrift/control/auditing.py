"""The verb that looks which model the vectors of an alias really are of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from undrift.adapters.sources.payload import PayloadSource
from undrift.control.adopting import Adopting
from undrift.control.examining import SHOWN, Examination
from undrift.domain.adoption import SAMPLE
from undrift.domain.checkpoint import Progress
from undrift.domain.record import DocumentId, Entry, Record, content_hash, is_tagged
from undrift.domain.route import AliasName, VectorField
from undrift.domain.wording import plural
from undrift.errors import UnknownAlias
from undrift.migrate import sampling
from undrift.ports.source import DocumentSource
from undrift.quality.foreign import LEAST, REFERENCE, Detector, learn

#: Records read at a time.
_PAGE = 500


@dataclass(slots=True, kw_only=True)
class _Count:
    """What a walk over all records found."""

    records: int = 0
    tagged: int = 0
    untagged: int = 0
    stale: int = 0
    by_space: dict[str, int] = field(default_factory=dict)
    suspects: list[tuple[float, DocumentId]] = field(default_factory=list)
    #: Records whose own tag names another space than the field's.
    other_space: list[DocumentId] = field(default_factory=list)


class Auditing(Adopting):
    """`alias audit`."""

    def audit(
        self,
        name: str,
        *,
        sample: int = SAMPLE,
        budget_usd: float | None = None,
        budget_tokens: int | None = None,
        unlimited: bool = False,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> dict[str, Any]:
        """Look at every record's tag and vector, and embed a sample of the texts again; changes nothing.

        Args:
            name: the alias.
            sample: how many texts are embedded again at random, and at most as many that seem foreign; 0 for none.
            budget_usd: most dollars for a paid model.
            budget_tokens: most tokens.
            unlimited: a paid model may cost what it costs.
            on_progress: told how many records were looked at.

        Raises:
            UnknownAlias: the ledger does not know it.
            BudgetRequired: the model is paid for, and nobody said how much it may cost.
        """
        state = self.ledger.alias(AliasName(name))
        if state is None:
            raise UnknownAlias(f"the ledger knows no alias {name}", hint="undrift alias list")
        place = state.route.serving
        known = self.ledger.space(place.space)
        model = self._model_of(known) if known is not None else state.model
        source = PayloadSource()
        seen: list[str] = []
        examination = None
        if sample:
            allowance = sampling.Allowance(
                self.model_door(model),
                tokens=budget_tokens,
                usd=budget_usd,
                unlimited=unlimited,
                what=f"an audit of collection {place.collection}",
            )
            examination = self.examine(
                place,
                model,
                source,
                sample,
                salt=f"{place.key} {self.clock.now().isoformat()}",
                allowance=allowance,
                again=True,
            )
        else:
            seen.append("no text was embedded again (--sample 0): foreign vectors of the same family stay unseen")
        detector = self._learn(place, examination, seen)
        count = self._walk(place, source, detector, on_progress)
        confirmed, cleared, open_ids = self._confirm(place, model, source, count, examination, sample=sample)
        return _report(
            name, place, count, examination, (confirmed, cleared, open_ids), model=model, detector=detector, seen=seen
        )

    def _learn(self, place: VectorField, examination: Examination | None, seen: list[str]) -> Detector | None:
        """Learn how the field's own vectors lie; a sentence into `seen` where they tell nothing."""
        store = self.store_of(place)
        (ids,), _ = sampling.choose(store, place, [REFERENCE], salt=place.key, on_progress=lambda _: None)
        vectors = [record.vector for page in sampling.read(store, place, ids) for record in page]
        trusted = None
        if examination is not None:
            good = set(range(len(examination.examined.records))) - set(examination.examined.differing)
            if good:
                trusted = np.stack([examination.examined.records[row].vector for row in sorted(good)])
        detector = learn(np.stack(vectors), trusted=trusted) if vectors else None
        if detector is None:
            seen.append(f"with fewer than {LEAST} vectors, nothing can be told from the vectors alone")
        elif not detector.can_tell:
            seen.append(
                "this collection's own vectors vary so much that those of an unrelated model do not stand apart; only "
                "the sample speaks"
            )
        return detector

    def _walk(
        self,
        place: VectorField,
        source: DocumentSource,
        detector: Detector | None,
        on_progress: Callable[[Progress], None],
    ) -> _Count:
        store, count, after = self.store_of(place), _Count(), ""
        described = store.describe(place)
        total = described.count if described is not None else 0
        while True:
            ids = store.ids(place, after=after, limit=_PAGE)
            records = list(store.fetch(place, ids).values())
            _tally(place, records, source, count)
            if detector is not None and records:
                scores = detector.scores(np.stack([record.vector for record in records]))
                count.suspects += [
                    (float(score), record.id) for score, record in zip(scores, records, strict=True) if score > 0
                ]
            self.router.beat()
            on_progress(Progress(total=max(total, count.records), done=count.records, rate_per_s=None))
            if len(ids) < _PAGE:
                return count
            after = ids[-1]

    def _confirm(
        self,
        place: VectorField,
        model: str,
        source: DocumentSource,
        count: _Count,
        examination: Examination | None,
        *,
        sample: int,
    ) -> tuple[list[DocumentId], list[DocumentId], list[DocumentId]]:
        """Return those suspects that the texts prove foreign, those that they clear, and those not asked about."""
        ordered = [id for _, id in sorted(count.suspects, reverse=True)]
        if examination is None or not ordered:
            return [], [], ordered
        chosen = ordered[:sample]
        records = [one for page in sampling.read(self.store_of(place), place, chosen) for one in page]
        examined = sampling.examine(
            records, self.model_door(model), source, examination.allowance, noise=examination.examined.noise
        )
        differing = set(examined.differing)
        foreign = [one.id for row, one in enumerate(examined.records) if row in differing]
        cleared = [one.id for row, one in enumerate(examined.records) if row not in differing]
        told = {*foreign, *cleared}
        return foreign, cleared, [id for id in ordered if id not in told]


def _tally(place: VectorField, records: list[Record], source: DocumentSource, count: _Count) -> None:
    """Count what the tags of some records say."""
    texts = source.texts([Entry(id=one.id, text=one.text, metadata=one.metadata, tag=one.tag) for one in records])
    for record in records:
        count.records += 1
        if not is_tagged(record.tag):
            count.untagged += 1
            continue
        count.tagged += 1
        count.by_space[record.tag.space] = count.by_space.get(record.tag.space, 0) + 1
        if record.tag.space != place.space:
            count.other_space.append(record.id)
        elif record.id in texts and record.tag.content != content_hash(texts[record.id]):
            count.stale += 1


def _report(
    name: str,
    place: VectorField,
    count: _Count,
    examination: Examination | None,
    suspects: tuple[list[DocumentId], list[DocumentId], list[DocumentId]],
    *,
    model: str,
    detector: Detector | None,
    seen: list[str],
) -> dict[str, Any]:
    confirmed, cleared, open_ids = suspects
    sampled = examination.as_dict() if examination is not None else None
    from_sample = sampled["ids"] if sampled else []
    ids = list(dict.fromkeys([*count.other_space, *confirmed, *open_ids, *from_sample]))
    compared = sampled["compared"] if sampled else 0
    if sampled and compared and not sampled["differing"]:
        bound = sampled["interval"][1]
        if bound:
            seen.append(
                f"a share below {bound:.2%} of vectors of the same family (a fine-tune, a missing prefix) may be there "
                "all the same: the sample misses it with a chance of 5 %"
            )
    if sampled and sampled["unreadable"]:
        missing = sum(sampled["unreadable"].values())
        seen.append(
            f"{plural(missing, 'record')} of the sample had no text that can be embedded; nothing is said of them"
        )
    told = bool(compared) or (detector is not None and detector.can_tell)
    verdict = "foreign" if ids else "clean" if compared else "unknown"
    return {
        "alias": name,
        "field": place.key,
        "model": model,
        "space": place.space,
        "records": count.records,
        "tagged": count.tagged,
        "untagged": count.untagged,
        "stale_tags": count.stale,
        "by_space": dict(sorted(count.by_space.items())),
        "foreign": {
            "count": len(ids),
            "share": len(ids) / count.records if count.records else 0.0,
            "ids": ids[:SHOWN],
            "by_vector": len(confirmed) + len(open_ids),
            "confirmed": len(confirmed),
            "cleared": len(cleared),
            "by_tag": len(count.other_space),
            "detectable": detector is not None and detector.can_tell,
        },
        "sample": sampled,
        "not_seen": seen,
        "verdict": verdict if told or ids else "unknown",
        "next_steps": _next_steps(name, verdict),
    }


def _next_steps(name: str, verdict: str) -> list[str]:
    if verdict == "foreign":
        return [f"undrift plan {name} --to MODEL", f"undrift get {name} ID"]
    if verdict == "unknown":
        return [f"undrift alias audit {name} --sample {SAMPLE}"]
    return []
