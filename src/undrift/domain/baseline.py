"""What a model gave for the probes when it was trusted, call by call, as it is kept."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from undrift.domain.probe import Probe
from undrift.domain.record import Vectors
from undrift.domain.space import SpaceId

#: Grows when the form below changes.
_FORM = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """What a probe's vector would be if the model began to treat its text in another way.

    Attributes:
        row: of which probe.
        kind: the way: `prefix`, `lower`, `upper`, `unaccented` or `cut`.
        label: the way in one word more: the prefix, or the number of words that are left.
        text: the probe's text after that.
    """

    row: int
    kind: str
    label: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A model's answers to the probes.

    Attributes:
        model: its name in the configuration.
        space: the space it computes.
        number: 1 for the first baseline of a space; grows with each that was accepted.
        recorded: when, aware UTC.
        probes: the texts, those that the model takes.
        calls: float32, shape (r, n, d).
        companions: the same texts treated in other ways.
        treated: their vectors, float32, shape (c, d).
        left_out: probes that the model does not take.
    """

    model: str
    space: SpaceId
    number: int
    recorded: datetime
    probes: Sequence[Probe]
    calls: Vectors
    companions: Sequence[Companion] = ()
    treated: Vectors
    left_out: int = 0

    def as_text(self) -> str:
        """Return the form that is kept: JSON, the numbers packed."""
        return json.dumps(
            {
                "form": _FORM,
                "model": self.model,
                "space": self.space,
                "number": self.number,
                "recorded": self.recorded.isoformat(),
                "probes": [[probe.stratum, probe.text, probe.as_query] for probe in self.probes],
                "calls": _packed(self.calls),
                "companions": [[one.row, one.kind, one.label, one.text] for one in self.companions],
                "treated": _packed(self.treated),
                "left_out": self.left_out,
            },
            ensure_ascii=False,
        )

    @classmethod
    def from_text(cls, text: str) -> Baseline:
        """Read back the form that is kept."""
        kept = json.loads(text)
        return cls(
            model=kept["model"],
            space=SpaceId(kept["space"]),
            number=kept["number"],
            recorded=datetime.fromisoformat(kept["recorded"]),
            probes=tuple(Probe(stratum=stratum, text=text, as_query=asked) for stratum, text, asked in kept["probes"]),
            calls=_unpacked(kept["calls"]),
            companions=tuple(
                Companion(row=row, kind=kind, label=label, text=text) for row, kind, label, text in kept["companions"]
            ),
            treated=_unpacked(kept["treated"]),
            left_out=kept["left_out"],
        )


def key_of(space: SpaceId) -> str:
    """Return the key under which the baseline of a space is kept that counts now."""
    return f"probe/baseline/{space}"


def key_of_older(space: SpaceId, number: int) -> str:
    """Return the key under which a baseline is kept after another was accepted."""
    return f"probe/older/{space}/{number}"


def _packed(vectors: Vectors) -> dict[str, Any]:
    numbers = base64.b64encode(zlib.compress(np.ascontiguousarray(vectors, dtype="<f4").tobytes(), 1))
    return {"shape": list(vectors.shape), "float32": numbers.decode()}


def _unpacked(kept: dict[str, Any]) -> Vectors:
    numbers = np.frombuffer(zlib.decompress(base64.b64decode(kept["float32"])), dtype="<f4")
    return numbers.astype(np.float32).reshape(kept["shape"])
