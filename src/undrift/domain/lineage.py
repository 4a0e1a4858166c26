"""Where a fine-tuned model comes from, how good it was found to be, who promoted it and why: entries that only grow."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from undrift.domain.space import SpaceId
from undrift.errors import AlreadyExists, BadArgument, UnknownModel

#: What pins weights for good: a hash of them, or the commit of a repository that has them.
_HASH = re.compile(r"sha256-[0-9a-f]{16,64}|[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The state of a model after a training, under the name that it has in the configuration.

    Attributes:
        model: its name; it means this checkpoint for good.
        space: the space of its vectors.
        hash: the hash of its weights, or the commit that has them.
        origin: where the weights were taken from.
        base: the public model that the first training began with.
        parent: name of the checkpoint that this training began with; empty when it began with the base.
        data: fingerprint of the training data.
        recipe: how it was trained, for a person who wants to do it again.
        code: revision of the code that trained it.
        author: who recorded it.
        reason: why it was trained.
        moment: when it was recorded, aware UTC.
    """

    model: str
    space: SpaceId
    hash: str
    origin: str
    base: str = ""
    parent: str = ""
    data: str = ""
    recipe: str = ""
    code: str = ""
    author: str
    reason: str = ""
    moment: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a model was found to be worth on a golden set, beside the model that served then.

    Attributes:
        model: its name.
        golden: the golden set.
        metric: what was measured, such as `ndcg_at_10`.
        value: the mean over the queries, from 0 to 1.
        low: lower end of its 95 % interval.
        high: upper end.
        queries: how many queries were measured.
        against: the model that it was compared with, by the same queries and documents.
        gain: mean of the differences, query by query; above 0 when this one is better.
        gain_low: lower end of the 95 % interval of that.
        gain_high: upper end.
        moment: when it was measured, aware UTC.
    """

    model: str
    golden: str
    metric: str
    value: float
    low: float
    high: float
    queries: int
    against: str
    gain: float
    gain_low: float
    gain_high: float
    moment: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """The beginning of the migration by which a model came to serve an alias.

    Attributes:
        model: its name.
        alias: the alias.
        replaced: the model that served.
        migration: the migration that was opened.
        author: who promoted it.
        reason: why.
        moment: when, aware UTC.
    """

    model: str
    alias: str
    replaced: str
    migration: str
    author: str
    reason: str
    moment: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Retirement:
    """The end of a model: nothing of it is stored any more, and it is promoted no more."""

    model: str
    author: str
    reason: str
    moment: datetime


Entry = Checkpoint | Evaluation | Promotion | Retirement
_KINDS: Mapping[str, type[Entry]] = {
    "checkpoint": Checkpoint,
    "evaluation": Evaluation,
    "promotion": Promotion,
    "retirement": Retirement,
}


def as_dict(entry: Entry) -> dict[str, Any]:
    """Return the JSON form of an entry; `kind` says which it is."""
    kind = next(name for name, one in _KINDS.items() if isinstance(entry, one))
    values = {field.name: getattr(entry, field.name) for field in fields(entry)}
    return {"kind": kind, **values, "moment": entry.moment.isoformat()}


def from_dict(values: Mapping[str, Any]) -> Entry | None:
    """Read back the JSON form; None for a kind that only another version of undrift knows."""
    kind = _KINDS.get(values.get("kind", ""))
    if kind is None:
        return None
    known = {field.name for field in fields(kind)}
    kept = {key: value for key, value in values.items() if key in known}
    return kind(**{**kept, "moment": datetime.fromisoformat(kept["moment"])})


class Lineage:
    """What is known of every fine-tuned model, folded from the entries in the order in which they were made."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        """Fold entries; of several descriptions of a checkpoint the last one counts, and all of them stay."""
        self.entries = tuple(entries)
        self.checkpoints = {entry.model: entry for entry in entries if isinstance(entry, Checkpoint)}

    def history(self, model: str) -> list[Entry]:
        """Return everything that was recorded of a model, the oldest first."""
        return [entry for entry in self.entries if entry.model == model]

    def ancestors(self, model: str) -> list[Checkpoint]:
        """Return the checkpoints that a model was trained from, the nearest first; empty for one that is unknown."""
        found: list[Checkpoint] = []
        own = self.checkpoints.get(model)
        while own is not None and own.parent and own.parent not in {one.model for one in found}:
            own = self.checkpoints.get(own.parent)
            if own is not None:
                found.append(own)
        return found

    def children(self, model: str) -> list[Checkpoint]:
        """Return the checkpoints whose training began with a model, in the order of their records."""
        return [one for one in self.checkpoints.values() if one.parent == model]

    def family(self, model: str) -> list[Checkpoint]:
        """Return a model with everything it was trained from and everything that was trained from it."""
        wanted = {model, *(one.model for one in self.ancestors(model))}
        fresh = [model]
        while fresh:
            fresh = [one.model for name in fresh for one in self.children(name) if one.model not in wanted]
            wanted.update(fresh)
        return [one for one in self.checkpoints.values() if one.model in wanted]

    def base(self, model: str) -> str:
        """Return the public model that the first training of a line began with; empty when nobody has said it."""
        own = self.checkpoints.get(model)
        line = [own, *self.ancestors(model)] if own is not None else []
        return next((one.base for one in reversed(line) if one.base), "")

    def of_space(self, space: SpaceId) -> list[Checkpoint]:
        """Return the checkpoints whose vectors are of a space."""
        return [one for one in self.checkpoints.values() if one.space == space]

    def evaluations(self, model: str) -> list[Evaluation]:
        """Return the last evaluation of a model on each golden set and metric, in the order of their names."""
        last = {(one.golden, one.metric): one for one in self.history(model) if isinstance(one, Evaluation)}
        return [last[key] for key in sorted(last)]

    def promotions(self, model: str) -> list[Promotion]:
        """Return the promotions of a model, the oldest first."""
        return [one for one in self.history(model) if isinstance(one, Promotion)]

    def is_retired(self, model: str) -> bool:
        """Whether a model came to its end."""
        return any(isinstance(one, Retirement) for one in self.history(model))

    def check(self, entry: Entry) -> None:
        """Pass when an entry may follow those that are there.

        Raises:
            BadArgument: the hash is none, a number is none, a text that must be there is blank, or a model would be
                its own ancestor.
            UnknownModel: the parent is not known.
            AlreadyExists: the name means another checkpoint, or its model is retired already.
        """
        _check_texts(entry)
        match entry:
            case Checkpoint():
                self._check_checkpoint(entry)
            case Evaluation():
                _check_numbers(entry)
            case Promotion() | Retirement():
                if self.is_retired(entry.model):
                    raise AlreadyExists(
                        f"model {entry.model} is retired", hint=f"undrift model lineage {entry.model} --history"
                    )

    def _check_checkpoint(self, entry: Checkpoint) -> None:
        model = entry.model
        if not _HASH.fullmatch(entry.hash):
            raise BadArgument(
                f"{entry.hash!r} does not pin the weights of model {model}",
                "a hash is sha256- and 16 to 64 hexadecimal digits, a commit has 40 of them",
                "take the model from a folder (undrift model add NAME --from FOLDER), or give it a revision that is "
                "the hash of its weights",
            )
        before = self.checkpoints.get(model)
        if before is not None and before.hash != entry.hash:
            raise AlreadyExists(
                f"model {model} is the checkpoint {before.hash}, and the one that was given is {entry.hash}",
                "vectors that were made by a name must stay traceable to one checkpoint",
                "give the retrained checkpoint a name of its own: undrift model add NAME --from FOLDER",
            )
        if not entry.parent:
            return
        if entry.parent not in self.checkpoints and entry.parent != model:
            raise UnknownModel(
                f"the lineage knows no checkpoint {entry.parent}, from which {model} is said to be trained",
                f"known are: {', '.join(sorted(self.checkpoints)) or 'none'}",
                f"undrift model record {entry.parent}; a public model that training began with is --base",
            )
        if model in {entry.parent, *(one.model for one in self.ancestors(entry.parent))}:
            raise BadArgument(
                f"model {model} cannot be trained from {entry.parent}, which comes from {model} itself",
                " ← ".join([entry.parent, *(one.model for one in self.ancestors(entry.parent))]),
                "undrift model lineage",
            )


def _check_texts(entry: Entry) -> None:
    required = {"model": entry.model}
    match entry:
        case Checkpoint():
            required |= {"author": entry.author, "space": entry.space, "origin": entry.origin}
        case Promotion() | Retirement():
            required |= {"author": entry.author, "reason": entry.reason}
        case Evaluation():
            required |= {"golden set": entry.golden, "metric": entry.metric}
    for what, text in required.items():
        if not text.strip():
            raise BadArgument(f"an entry about model {entry.model} has no {what}", hint=f"say its {what}")
    if entry.moment.tzinfo is None:
        raise BadArgument(f"the moment of an entry about model {entry.model} has no time zone")


def _check_numbers(entry: Evaluation) -> None:
    shares = (entry.low, entry.value, entry.high)
    gains = (entry.gain_low, entry.gain, entry.gain_high)
    if not all(math.isfinite(one) for one in (*shares, *gains)) or entry.queries < 1:
        raise BadArgument(f"the evaluation of model {entry.model} on {entry.golden} is not made of numbers")
    if not 0 <= min(shares) <= max(shares) <= 1 or list(shares) != sorted(shares) or list(gains) != sorted(gains):
        raise BadArgument(
            f"the evaluation of model {entry.model} on {entry.golden} has an interval that does not hold its value",
            f"{entry.metric}: {entry.value} in {entry.low} to {entry.high}; gain {entry.gain} in {entry.gain_low} to "
            f"{entry.gain_high}",
        )
