"""The verb that takes over a collection somebody else made, after it has proven which model its vectors are of."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from undrift.adapters.sources.payload import PayloadSource
from undrift.control.examining import Examination, Examining
from undrift.domain.adoption import NOTE, SAMPLE, Doubt, Finding, Objection, as_json, objections
from undrift.domain.checkpoint import Progress
from undrift.domain.route import AliasName, VectorField
from undrift.domain.shape import OWN, TagPlace, join_address, split_address
from undrift.domain.space import Metric, Space
from undrift.domain.wording import plural
from undrift.errors import (
    AlreadyExists,
    BadArgument,
    CollectionMissing,
    GateFailed,
)
from undrift.migrate import sampling, tagging
from undrift.ports.source import DocumentSource
from undrift.ports.store import FieldDescription, SupportsTagging
from undrift.quality.foreign import REFERENCE, learn

#: A length counts as 1 up to this.
_UNIT = 0.01


class Adopting(Examining):
    """`alias adopt`."""

    def adopt_collection(
        self,
        name: str,
        *,
        store: str,
        collection: str,
        model: str,
        tags: str | None = None,
        text: str | None = None,
        mirror: str = "journal",
        sample: int = SAMPLE,
        accept: Collection[str] = (),
        accept_unproven: str = "",
        budget_usd: float | None = None,
        budget_tokens: int | None = None,
        unlimited: bool = False,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> dict[str, Any]:
        """Serve a collection that is there already, once its vectors are proven to be a model's.

        A sample of its texts is embedded again and compared with the stored vectors. Nothing is changed before that is
        proven; then the alias is recorded, and the records get tags. An adoption that was interrupted while it tagged
        goes on when it is asked for again; one that was interrupted before has left nothing.

        Args:
            name: the new alias.
            store: the store's name in the configuration.
            collection: the collection's address.
            model: the model it is said to be made with.
            tags: `payload` or `ledger`; as the address says by default.
            text: where the texts are; beside the vectors by default.
            mirror: as in the configuration.
            sample: how many records are compared.
            accept: the doubts that are accepted: `foreign`, `metric`, `length`, `texts`.
            accept_unproven: why it is adopted though its model is not proven; goes into the history.
            budget_usd: most dollars for a paid model.
            budget_tokens: most tokens.
            unlimited: a paid model may cost what it costs.
            on_progress: told how many records are tagged.

        Raises:
            GateFailed: the claim is not proven, or there is a doubt that nobody accepted; all of them are listed.
            AlreadyExists: there is such an alias.
            CollectionMissing: there is no such collection.
            BadArgument: it is empty, has other dimensions, or cannot take tags.
            BudgetRequired: the model is paid for, and nobody said how much it may cost.
        """
        accepted = _accepted(accept, accept_unproven)
        alias, text = AliasName(name), text or "payload:text"
        self.plugins.source(text)
        # The store of a field shows the texts of its source as if they stood in the records.
        source = PayloadSource()
        state = self.ledger.alias(alias)
        # Before the first request of any kind goes to a model that is paid for.
        allowance = sampling.Allowance(
            self.model_door(model),
            tokens=budget_tokens,
            usd=budget_usd,
            unlimited=unlimited or state is not None,
            what=f"an adoption of collection {collection}",
        )
        field = self._field(store, collection, model, tags)
        if state is not None and (state.route.serving != field or not self.ledger.tuning(alias).get(NOTE)):
            raise AlreadyExists(f"there is an alias {name} already", hint=f"undrift alias audit {name}")
        self._refuse_shared(field, alias)
        values = {"store": store, "collection": field.collection, "model": model, "text": text}
        values |= {} if mirror == "journal" else {"mirror": mirror}
        before = self.config
        try:
            self._configure(name, values)
            self._require_tagging(field)
            if state is None:
                examined, doubts = self._prove(field, model, source, sample, allowance)
                open_doubts = [one for one in doubts if one.doubt not in accepted]
                if open_doubts:
                    raise _refusal(name, field, open_doubts)
                self._enter_alias(alias, field, examined, doubts, model=model, mirror=mirror, reason=accept_unproven)
            self.config.save()
        except BaseException:
            if self.ledger.alias(alias) is None:
                self._reconfigure(before)
            raise
        evidence = self._tag(alias, field, source, on_progress)
        return {"alias": name, **evidence, "next_steps": [f"undrift search {name} TEXT", f"undrift alias audit {name}"]}

    def _field(self, store: str, collection: str, model: str, tags: str | None) -> VectorField:
        name, shape = split_address(collection)
        if tags is not None:
            if tags not in {place.value for place in TagPlace}:
                raise BadArgument(f"tags cannot be in {tags!r}", hint="--tags payload, or --tags ledger")
            shape = replace(shape, tags=TagPlace(tags))
        space = self.recorded(model).space
        return VectorField(store=store, collection=join_address(name, shape), space=space.id)

    def _require_tagging(self, field: VectorField) -> None:
        store = self.store_of(field)
        if not isinstance(store, SupportsTagging):
            raise BadArgument(
                f"store {store.capabilities.name} cannot put a tag beside a vector that is there already",
                f"collection {field.collection} of store {field.store} would have to be written anew",
                "--tags ledger: the tags are kept in undrift's ledger, and the records stay as they are",
            )

    def _configure(self, name: str, values: dict[str, Any]) -> None:
        """Add the alias to the configuration, unless it says the same already."""
        there = self.config.settings.aliases.get(name)
        if there is None:
            told = {key: value for key, value in values.items() if (key, value) != ("text", "payload:text")}
            self._reconfigure(self.config.with_table("aliases", name, told))
            return
        said = {key: getattr(there, key) for key in ("store", "collection", "model", "text")}
        if said != {key: values[key] for key in said}:
            raise AlreadyExists(
                f"[aliases.{name}] in {self.config.path} is about something else",
                ", ".join(f"{key} is {value}" for key, value in said.items()),
                f"change it there, or choose another name than {name}",
            )

    def _prove(
        self,
        field: VectorField,
        model: str,
        source: DocumentSource,
        sample: int,
        allowance: sampling.Allowance,
    ) -> tuple[Examination, list[Objection]]:
        there = self.store_of(field).describe(field)
        if there is None:
            raise self._missing(field)
        if not there.count:
            raise BadArgument(
                f"collection {field.collection} of store {field.store} is empty: there is nothing to adopt",
                "no vector says which model it was made for",
                "make a new one: undrift alias create, with another collection",
            )
        examination = self.examine(field, model, source, sample, salt=field.key, allowance=allowance, again=True)
        space = self.model_door(model).space
        finding = Finding(
            total=examination.total,
            sampled=examination.sampled,
            compared=len(examination.examined.records),
            differing=len(examination.examined.differing),
            unreadable=examination.examined.unreadable,
        )
        explained = "; ".join(one.detail for one in examination.explanations)
        doubts = objections(finding, model=model, limit=examination.examined.limit, explained=explained)
        if there.dimensions != space.dimensions:
            doubts = [_other_dimensions(there, space, model, explained)]
        doubts += _of_metric(there, space, model)
        doubts += _of_lengths(examination, there, space, model)
        cures = {one.cure for one in examination.explanations}
        if cures:
            doubts[0] = replace(doubts[0], hint=doubts[0].hint or "; ".join(sorted(cures)))
        return examination, doubts

    def _missing(self, field: VectorField) -> CollectionMissing:
        try:
            self.store_of(field).count(field)
        except CollectionMissing as error:
            if error.hint:
                # The store knows better, as one that has the collection, but not the vector that is meant.
                return error
        return CollectionMissing(
            f"store {field.store} has no collection {split_address(field.collection)[0]}",
            hint=_how_to_name(field),
        )

    def _enter_alias(
        self,
        alias: AliasName,
        field: VectorField,
        examination: Examination,
        doubts: Sequence[Objection],
        *,
        model: str,
        mirror: str,
        reason: str,
    ) -> None:
        """Make the alias, with the note that its records are still to be tagged, before there is an alias to find."""
        examined = examination.examined
        evidence = examination.as_dict()
        foreign = [examined.records[row].id for row in examined.differing]
        note = {"run": asdict(tagging.Tagging()), "leave": foreign, "proof": evidence, "doubts": as_json(list(doubts))}
        self.ledger.tune(alias, {NOTE: json.dumps(note)})
        self.ledger.create_alias(alias, field, model=model, mirror=mirror)
        told = f"{evidence['matched']} of {evidence['compared']} vectors are what {model} gives for their texts"
        accepted = "; ".join(one.detail for one in doubts)
        why = f"; accepted: {accepted}" if accepted else ""
        why += f"; because {' '.join(reason.split())}" if reason else ""
        self.ledger.enter(alias, who=self._who(), action="adopted", detail=told + why)

    def _tag(
        self,
        alias: AliasName,
        field: VectorField,
        source: DocumentSource,
        on_progress: Callable[[Progress], None],
    ) -> dict[str, Any]:
        """Give every record its tag, from where the note in the ledger says that it was interrupted."""
        note = json.loads(self.ledger.tuning(alias)[NOTE])
        run, store = tagging.Tagging(**note["run"]), self.store_of(field)
        (reference,), total = sampling.choose(store, field, [REFERENCE], salt=field.key, on_progress=lambda _: None)
        vectors = [record.vector for page in sampling.read(store, field, reference) for record in page]
        detector = learn(np.stack(vectors)) if vectors else None

        def keep(now: tagging.Tagging) -> None:
            self.ledger.tune(alias, {NOTE: json.dumps({**note, "run": asdict(now)})})
            self.router.beat()
            on_progress(Progress(total=max(total, now.seen), done=now.seen, rate_per_s=None))

        tagging.tag_all(store, field, source, run=run, leave=note["leave"], detector=detector, keep=keep)
        self.ledger.tune(alias, {NOTE: ""})
        detail = f"{plural(run.tagged, 'record')} tagged" + (f", {run.left_count} foreign ones not" if run.left else "")
        self.ledger.enter(alias, who=self._who(), action="adoption_finished", detail=detail)
        return {
            "field": field.key,
            "space": field.space,
            "tags": split_address(field.collection)[1].tags.value,
            "proof": note["proof"],
            "accepted": note["doubts"],
            "tagged": run.tagged,
            "untagged": {"foreign": run.left_count, "without_text": run.without_text, "changed": run.changed},
            "foreign": {"count": run.left_count, "ids": run.left},
            "verdict": "unproven" if _has(note, Doubt.UNPROVEN) else "mixed" if run.left_count else "proven",
        }


def _has(note: dict[str, Any], doubt: Doubt) -> bool:
    return any(one["doubt"] == doubt.value for one in note["doubts"])


def _accepted(accept: Collection[str], reason: str) -> set[Doubt]:
    choices = [doubt.value for doubt in Doubt if doubt is not Doubt.UNPROVEN]
    for word in accept:
        if word not in choices:
            raise BadArgument(f"nothing is called {word!r} that could be accepted", f"there are: {', '.join(choices)}")
    return {Doubt(word) for word in accept} | (set(Doubt) if reason.strip() else set())


def _how_to_name(field: VectorField) -> str:
    name, shape = split_address(field.collection)
    look = f"look at its name, or make a new one: undrift alias create NAME --store {field.store}"
    if replace(shape, tags=TagPlace.PAYLOAD) != OWN:
        return look
    return f"{look}\nif another program made it, say how it looks: --collection '{name}?as=langchain'"


def _refusal(name: str, field: VectorField, doubts: Sequence[Objection]) -> GateFailed:
    words = sorted({one.doubt.value for one in doubts if one.doubt is not Doubt.UNPROVEN})
    accepting = [f"--accept {word}" for word in words if all(one.doubt is not Doubt.UNPROVEN for one in doubts)]
    hints = [one.hint for one in doubts if one.hint] or [
        f"if you accept it: {' '.join(accepting)}" if accepting else "if you know better: --accept-unproven REASON"
    ]
    return GateFailed(
        f"collection {field.collection} of store {field.store} cannot be adopted as {name}: nothing was changed",
        "\n".join(one.detail for one in doubts),
        "\n".join(hints),
    )


def _other_dimensions(there: FieldDescription, space: Space, model: str, explained: str) -> Objection:
    return Objection(
        doubt=Doubt.UNPROVEN,
        detail=f"its vectors have {there.dimensions} dimensions, and those of model {model} have {space.dimensions}"
        + (f"; {explained}" if explained else ""),
    )


def _of_metric(there: FieldDescription, space: Space, model: str) -> list[Objection]:
    if there.metric is space.metric:
        return []
    said = f"the collection compares by {there.metric.value}, and model {model} is declared for {space.metric.value}"
    return [
        Objection(
            doubt=Doubt.METRIC,
            detail=said + ("; for vectors of length 1 the order is the same, the scores are not" * space.normalized),
            hint="" if not space.normalized else "if that is as it should be: --accept metric",
        )
    ]


def _of_lengths(examination: Examination, there: FieldDescription, space: Space, model: str) -> list[Objection]:
    """Object to lengths that are not the model's, where the collection's metric looks at them."""
    examined = examination.examined
    if there.metric is Metric.COSINE or not examined.records or there.dimensions != space.dimensions:
        return []
    rows = [row for row in range(len(examined.records)) if row not in examined.differing]
    stored = np.array([np.linalg.norm(examined.records[row].vector) for row in rows])
    made = np.linalg.norm(examined.made[rows], axis=1) if rows else np.empty(0)
    ratio = float(np.median(stored / made)) if rows else 1.0
    if abs(ratio - 1) <= _UNIT:
        return []
    unit = abs(float(np.median(stored)) - 1) <= _UNIT
    how = "normalised, and the model's are not" if unit else f"{ratio:.3g} times as long as the model's"
    return [
        Objection(
            doubt=Doubt.LENGTH,
            detail=f"the vectors point where model {model} points, but they are {how}: by {there.metric.value} the "
            "documents that undrift writes would rank otherwise than those that are there",
            hint="normalise = true for the model, or a collection that compares by cosine" if unit else "",
        )
    ]
