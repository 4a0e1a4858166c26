"""The verbs about where models come from: register, record, look at their lineage, trace a vector, retire."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from undrift.control.documents import Documents
from undrift.control.evidence import Evidence
from undrift.control.operations import Operations
from undrift.domain.lineage import Checkpoint, Lineage, Retirement, as_dict
from undrift.domain.migration import fields_of
from undrift.domain.record import DocumentId, Record, is_tagged
from undrift.domain.route import AliasName, VectorField
from undrift.domain.space import SpaceId
from undrift.errors import (
    BadArgument,
    BadConfig,
    CheckpointUnproven,
    FieldInUse,
    SpaceMismatch,
    UndriftError,
    UnknownModel,
)
from undrift.flow.embed import EmbeddingDoor
from undrift.flow.lineage import LineageBook


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What somebody who trained a model says of it; see `domain.lineage.Checkpoint`.

    Attributes:
        base: the public model that the first training began with.
        parent: the checkpoint that this training began with.
        data: files and folders of training data, from where this process runs, or one fingerprint.
        recipe: how it was trained.
        code: revision of the code that trained it.
        reason: why it was trained.
        author: who says so; who runs this process by default.
    """

    base: str = ""
    parent: str = ""
    data: Sequence[Path | str] = ()
    recipe: str = ""
    code: str = ""
    reason: str = ""
    author: str = ""


class Ancestry(Documents, Operations, Evidence):
    """The lineage of fine-tuned models, in the ledger."""

    @property
    def lineages(self) -> LineageBook:
        """Return the book in which lineage is kept."""
        return LineageBook(self.ledger)

    def register_model(
        self, name: str, origin: str, training: Training, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Add a fine-tuned model to the configuration and record where it comes from.

        Args:
            name: what it is called; it means this checkpoint for good.
            origin: a folder, from beside the configuration, `mlflow:models:/NAME/VERSION`, or `hf:ORG/NAME@COMMIT`.
            training: what is known of its training.
            options: keys for its provider, which win over those that its origin implies.

        Raises:
            BadArgument: the origin has no model that can be run here.
            BadConfig: there is such a model already.
            AlreadyExists: the name meant another checkpoint.
        """
        found = self.plugins.origin(origin)
        values: dict[str, Any] = {"path": self._written(found.folder), **found.options, **(options or {})}
        if found.head_of is not None and "base" not in values:
            values["base"] = self._model_of_space(found.head_of.id)
        if found.head_of is not None and not (training.base or training.parent):
            training = replace(training, base=f"{found.head_of.model}@{found.head_of.revision}")
        place = found.text if found.text.startswith(("hf:", "mlflow:")) else self._written(found.folder)
        before = self.config
        self._reconfigure(before.with_table("models", name, {"provider": found.provider, **values}))
        try:
            # Asked before the file is written: a name that cannot be recorded is not configured either.
            entry = self._checkpoint(name, place, training, recipe=found.recipe, code=found.code)
            self.lineages.read().check(entry)
        finally:
            self._reconfigure(before)
            self.forget_model(name)
        shown = self.add_model(name, found.provider, values)
        recorded = self.record_checkpoint(name, training, origin=place, recipe=found.recipe, code=found.code)
        return {**shown, "checkpoint": recorded}

    def record_checkpoint(
        self, name: str, training: Training, *, origin: str = "", recipe: str = "", code: str = ""
    ) -> dict[str, Any]:
        """Record where a configured model comes from; what was recorded before stays in its history.

        What is left out stays as it was recorded.

        Args:
            name: the model.
            training: what is known of its training.
            origin: where its weights were taken from; as the configuration says by default.
            recipe: how it was trained, where `training` does not say it.
            code: revision of the code, where `training` does not say it.

        Raises:
            BadArgument: its revision does not pin its weights, or it would be its own ancestor.
            AlreadyExists: the name means another checkpoint.
        """
        entry = self._checkpoint(name, origin, training, recipe=recipe, code=code)
        self.recorded(name)
        lineage = self.lineages.add(entry)
        return self._described(entry, lineage)

    def lineage(self, name: str | None = None) -> dict[str, Any]:
        """Return the lineage of one model's family, or of every model.

        Raises:
            UnknownModel: the lineage knows no such model.
        """
        lineage = self.lineages.read()
        if name is not None and not lineage.history(name):
            raise UnknownModel(
                f"the lineage knows no model {name}",
                f"known are: {', '.join(sorted(lineage.checkpoints)) or 'none'}",
                f"undrift model record {name}" if name in self.config.settings.models else "undrift model lineage",
            )
        shown = list(lineage.checkpoints.values()) if name is None else lineage.family(name)
        names = {one.model for one in shown} | ({name} if name else set())
        return {
            "models": [self._described(one, lineage) for one in shown],
            "history": [as_dict(entry) for entry in lineage.entries if name is None or entry.model in names],
        }

    def trace(self, name: str, id: str) -> dict[str, Any]:
        """Return which checkpoint made each stored vector of a document, and where that comes from.

        Raises:
            BadArgument: the document is not there.
        """
        route = self.router.join(AliasName(name))
        lineage = self.lineages.read()
        vectors = []
        for role, place in (("serving", route.serving), ("follower", route.follower)):
            record = self.store_of(place).fetch(place, [DocumentId(id)]).get(DocumentId(id)) if place else None
            if place is not None and record is not None:
                vectors.append({"role": role, **self._traced(name, place, record, lineage)})
        if not vectors:
            raise BadArgument(f"there is no document {id!r} in {name}", hint=f"undrift export {name}")
        return {"alias": name, "id": id, "vectors": vectors}

    def retire_model(self, name: str, *, reason: str, author: str = "") -> dict[str, Any]:
        """Record that a model is not used any more, and take it out of the configuration.

        Raises:
            FieldInUse: an alias has vectors of it.
            UnknownModel: neither the configuration nor the lineage knows it.
            BadArgument: no reason is given.
        """
        lineage = self.lineages.read()
        if name not in lineage.checkpoints:
            self.model_settings(name)
        spaces = {one.space for one in lineage.checkpoints.values() if one.model == name}
        # The files of a model that nobody uses may be gone; what it made is known by its name.
        with suppress(UndriftError):
            spaces.add(self.model_door(name).space.id)
        users = [
            f"alias {alias}: {field.key} has vectors of {field.space}"
            for alias in self.ledger.aliases()
            for field in self._in_use(alias)
            if field.space in spaces or self._recorded_name(field.space) == name
        ]
        if users:
            alias = users[0].split(":")[0].removeprefix("alias ")
            raise FieldInUse(
                f"model {name} cannot be retired: vectors of it are in use",
                "\n".join(dict.fromkeys(users)),
                f"migrate {alias} to another model and complete that: undrift status {alias}",
            )
        settings = self.config.settings
        named = [f"[aliases.{key}]" for key, one in settings.aliases.items() if one.model == name]
        named += [f"[models.{key}]" for key, one in settings.models.items() if one.options.get("base") == name]
        self.lineages.add(
            Retirement(model=name, author=author or self._who(), reason=reason.strip(), moment=self.clock.now())
        )
        if name in settings.models and not named:
            config = self.config.without_table("models", name)
            config.save()
            self._reconfigure(config)
        return {"model": name, "reason": reason, "still_named_by": named, "next_steps": ["undrift model lineage"]}

    def require_servable(self, name: str, *, alias: str | None = None) -> EmbeddingDoor:
        """Return the door to a model whose space is proven, for a pipeline that is about to serve it.

        Args:
            name: the model.
            alias: the alias that it is to answer; the vectors that serve there have to be of its space.

        Raises:
            CheckpointUnproven: nobody has recorded the checkpoint, it is retired, or its files are not those that were
                recorded.
            ModelChanged: it does not give the vectors any more that its space was recorded with.
            SpaceMismatch: the alias is served by vectors of another space.
        """
        space = self.model_door(name).space
        lineage = self.lineages.read()
        known = lineage.checkpoints.get(name)
        if known is None:
            raise CheckpointUnproven(
                f"nobody has recorded which checkpoint model {name} is",
                "without that, no vector of it can be traced to its training",
                f"undrift model record {name}",
            )
        if lineage.is_retired(name):
            raise CheckpointUnproven(
                f"model {name} is retired", hint=f"undrift model lineage {name} --history says who did it and why"
            )
        if known.space != space.id or known.hash != space.revision:
            raise CheckpointUnproven(
                f"model {name} is not the checkpoint that was recorded",
                f"now {space.revision} in space {space.id}, recorded {known.hash} in space {known.space}",
                "a retrained checkpoint is another space until it is proven equal: undrift model add NEW-NAME --from "
                "FOLDER, then undrift model promote NEW-NAME --alias ALIAS",
            )
        door = self.door_of(space.id)
        if alias is not None and (serving := self.router.join(AliasName(alias)).serving.space) != space.id:
            raise SpaceMismatch(
                f"alias {alias} is served by vectors of {serving}, and model {name} gives {space.id}",
                "queries of one space among vectors of another find the wrong documents",
                f"undrift model promote {name} --alias {alias} --reason WHY",
            )
        return door

    def _checkpoint(self, name: str, origin: str, training: Training, *, recipe: str, code: str) -> Checkpoint:
        """Describe a configured model; what is not said now is as it was said last."""
        settings = self.model_settings(name)
        space = self.model_door(name).space
        before = self.lineages.read().checkpoints.get(name)

        def said(value: str, key: str, otherwise: str = "") -> str:
            return value.strip() or (getattr(before, key) if before is not None else "") or otherwise

        return Checkpoint(
            model=name,
            space=space.id,
            hash=space.revision,
            origin=said(origin, "origin", str(settings.options.get("path", settings.provider))),
            base=said(training.base, "base"),
            parent=said(training.parent, "parent"),
            data=said(self.plugins.fingerprint(training.data), "data"),
            recipe=said(training.recipe or recipe, "recipe"),
            code=said(training.code or code, "code"),
            author=training.author.strip() or self._who(),
            reason=said(training.reason, "reason"),
            moment=self.clock.now(),
        )

    def _described(self, one: Checkpoint, lineage: Lineage) -> dict[str, Any]:
        """Return a checkpoint with everything that happened to it."""
        values = {key: value for key, value in as_dict(one).items() if key != "kind"}
        return {
            **values,
            "base": lineage.base(one.model),
            "evaluations": [as_dict(found) for found in lineage.evaluations(one.model)],
            "promotions": [as_dict(found) for found in lineage.promotions(one.model)],
            "children": [child.model for child in lineage.children(one.model)],
            "retired": lineage.is_retired(one.model),
            "serves": [alias for alias in self.ledger.aliases() if self._serves(alias) == one.space],
        }

    def _traced(self, alias: str, place: VectorField, record: Record, lineage: Lineage) -> dict[str, Any]:
        """Follow a record's tag to its space, from there to its model, and from there to its checkpoint."""
        space = record.tag.space if is_tagged(record.tag) else None
        known = self.ledger.space(space) if space is not None else None
        made_by = lineage.of_space(space) if space is not None else []
        return {
            "field": place.key,
            "space": space,
            "is_of_field": space == place.space,
            "model": known.model if known is not None else None,
            "revision": known.space.revision if known is not None else None,
            "checkpoints": [
                {
                    **{key: value for key, value in as_dict(one).items() if key != "kind"},
                    "base": lineage.base(one.model),
                    "ancestors": [{"model": up.model, "hash": up.hash} for up in lineage.ancestors(one.model)],
                    "promotion": next(
                        (as_dict(told) for told in reversed(lineage.promotions(one.model)) if told.alias == alias), None
                    ),
                }
                for one in made_by
            ],
        }

    def _in_use(self, alias: AliasName) -> list[VectorField]:
        state = self.ledger.alias(alias)
        return fields_of(state) if state is not None else []

    def _recorded_name(self, space: SpaceId) -> str:
        known = self.ledger.space(space)
        return known.model if known is not None else ""

    def _written(self, folder: Path) -> str:
        """Return a folder as it stands in the configuration: from beside it where it is there."""
        whole = folder.absolute()
        inside = whole.is_relative_to(self.config.folder)
        return whole.relative_to(self.config.folder).as_posix() if inside else str(whole)

    def _model_of_space(self, wanted: SpaceId) -> str:
        """Return the configured model that a head was trained behind."""
        apart = []
        for name in sorted(self.config.settings.models):
            try:
                space = self.model_door(name).space
            except UndriftError as error:
                apart.append(f"{name}: {error.message}")
                continue
            if space.id == wanted:
                return name
            apart.append(f"{name}: {space.id}")
        raise BadConfig(
            f"no configured model gives vectors of {wanted}, behind which the head was trained",
            "\n".join(apart),
            "undrift model add BASE --provider PROVIDER",
        )
