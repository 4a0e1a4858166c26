"""The verb `model equal`: whether two models are one, and what follows."""

from __future__ import annotations

from typing import Any

import numpy as np

from undrift.control.probing import Probing
from undrift.domain.equality import Equality, key_of_equality, obstacles
from undrift.domain.probe import Probe
from undrift.domain.probe_texts import shipped
from undrift.domain.record import Vectors
from undrift.domain.route import AliasName
from undrift.domain.space import SpaceId
from undrift.errors import BadArgument, EmbedderRejected, FieldInUse, TextTooLong, TransactionUndone, UndriftError
from undrift.flow import canary
from undrift.flow.embed import EmbeddingDoor
from undrift.quality.diagnosis import diagnose
from undrift.quality.equal import Answer, Comparison, compare

#: Calls of each model.
_CALLS = 4
#: What follows where nothing was measured.
_NOTHING: dict[str, Any] = {"stands_for": None, "next_steps": []}


class Equating(Probing):
    """Prove that two models are one, and let one stand for the other."""

    def equal(self, left: str, right: str, *, keep: bool = True) -> dict[str, Any]:
        """Compare two models, and where they are one, give the vectors of one the tag of the other's space.

        The one whose space no alias uses is the one that changes its tag; from then on a plan to it has nothing to
        embed. It is proven like every model of that space.

        Args:
            left: a model; where it has a baseline, that is what it gives, and it need not answer.
            right: another model.
            keep: whether a proof is kept, or only shown.

        Raises:
            BadArgument: it is the same model twice.
        """
        if left == right:
            raise BadArgument(f"model {left} is equal to itself", hint="undrift model list")
        doors = self.model_door(left), self.model_door(right)
        shown: dict[str, Any] = {"left": left, "right": right, "left_space": doors[0].space.id}
        shown["right_space"] = doors[1].space.id
        if doors[0].space.id == doors[1].space.id:
            return {**shown, "verdict": Answer.EQUAL.value, "reason": "they have one space", **_NOTHING}
        apart = obstacles(doors[0].space, doors[1].space)
        if apart:
            return {**shown, "verdict": Answer.DIFFERENT.value, "reason": "; ".join(apart), **_NOTHING}
        probes, then = self._given(left, doors[0])
        try:
            now = np.stack([canary.ask(doors[1], probes, number) for number in range(_CALLS)])
        except (TextTooLong, EmbedderRejected) as error:
            reason = f"model {right} does not take every text that {left} takes: {error.message}"
            return {**shown, "verdict": Answer.UNKNOWN.value, "reason": reason, **_NOTHING}
        found = compare(then, now)
        shown |= _figures(found, probes)
        stands_for = self._let_stand(left, right, found, len(probes)) if keep and found.answer is Answer.EQUAL else None
        return {**shown, "stands_for": stands_for, "next_steps": _next_steps(found.answer, left, right, stands_for)}

    def unequal(self, model: str) -> dict[str, Any]:
        """Take a proof back: the model has its own space again.

        Raises:
            BadArgument: nothing was proved of it.
            FieldInUse: an alias is served from the space that it stood for, and nothing else computes that.
        """
        own = self.own_space(model)
        memo = self.ledger.recall(key_of_equality(own.id))
        if memo is None:
            raise BadArgument(f"model {model} was not proved equal to another", hint="undrift model list")
        space = Equality.from_text(memo.text).space.id
        others = [name for name in self.config.settings.models if name != model and self._computes(name, space)]
        if self._uses(space) and not others:
            raise FieldInUse(
                f"model {model} is the only one that computes the space {space}, which is in use",
                ", ".join(self._uses(space)),
                "configure the other model again first",
            )
        self.ledger.forget(key_of_equality(own.id), version=memo.version)
        self.forget_door(model)
        return {"model": model, "space": own.id, "stood_for": space}

    def _given(self, model: str, door: EmbeddingDoor) -> tuple[list[Probe], Vectors]:
        """Return the probes and what a model gives for them: its baseline, if that is of shipped texts or more."""
        baseline = self.baseline_of(door.space.id)
        if baseline is not None:
            return list(baseline.probes), baseline.calls
        made = canary.record(door, shipped(), model=model, repeats=_CALLS, moment=self.clock.now())
        return list(made.probes), made.calls

    def _let_stand(self, left: str, right: str, found: Comparison, probes: int) -> str | None:
        """Let the model whose space is in no use stand for the other; None where both are in use."""
        first, second = self.model_door(left).space, self.model_door(right).space
        if not self._uses(second.id):
            model, beside, own, space = right, left, self.own_space(right).id, first
        elif not self._uses(first.id):
            model, beside, own, space = left, right, self.own_space(left).id, second
        else:
            return None
        # Those that stand behind the space that is left must not be led on by a chain of proofs.
        self.recorded(beside)
        proof = Equality(own=own, space=space, model=beside, moment=self.clock.now(), probes=probes, most=found.most)
        before = self.ledger.recall(key_of_equality(own))
        if not self.ledger.remember(key_of_equality(own), proof.as_text(), version=before.version if before else 0):
            raise TransactionUndone(f"somebody else proved something of model {model} meanwhile")
        self.forget_door(model)
        return f"{model} stands for {beside}"

    def _uses(self, space: SpaceId) -> list[str]:
        """Return the aliases that have vectors of a space, in either field."""
        found = []
        for name in self.ledger.aliases():
            route = self.ledger.route(AliasName(name))
            fields = (route.serving, route.follower) if route else ()
            if any(field is not None and field.space == space for field in fields):
                found.append(str(name))
        return found

    def _computes(self, model: str, space: SpaceId) -> bool:
        try:
            return self.model_door(model).space.id == space
        except UndriftError:
            return False


def _figures(found: Comparison, probes: list[Probe]) -> dict[str, Any]:
    diagnosis = (
        diagnose(found.floor, found.look, [probe.traits for probe in probes])
        if found.answer is Answer.DIFFERENT
        else None
    )
    return {
        "verdict": found.answer.value,
        "reason": diagnosis.words if diagnosis else "",
        "probes": len(probes),
        "displacement": found.look.size,
        "at_most": found.most,
        "worst": found.worst,
        "noise_floor": found.floor.noise,
        "p_value": found.look.p_value,
        "cosine": {"mean": float(found.look.cosines.mean()), "min": float(found.look.cosines.min())},
    }


def _next_steps(answer: Answer, left: str, right: str, stands_for: str | None) -> list[str]:
    match answer:
        case Answer.EQUAL:
            return ["undrift model list"] if stands_for else [f"undrift plan ALIAS --to {right}"]
        case Answer.DIFFERENT:
            return [f"undrift plan ALIAS --to {right}"]
        case Answer.UNKNOWN:
            return [f"undrift probe record {left} --repeats 8"]
