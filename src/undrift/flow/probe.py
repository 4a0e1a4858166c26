"""Proof, by fixed texts, that a model still gives the vectors that its space was recorded with."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

import numpy as np

from undrift.domain.finding import Severity
from undrift.domain.record import Vectors
from undrift.errors import BadArgument, MalformedVectors, ModelChanged, UndriftError
from undrift.flow.canary import Canary, Judgement
from undrift.flow.embed import EmbeddingDoor
from undrift.ports.runtime import Clock
from undrift.quality.canary import Verdict

#: Embedded as documents. They never change: a recorded reference belongs to exactly these. Long and short, several
#: scripts, code, numbers, one sentence in capitals, and pairs that differ in one word, because that is where a
#: quantised, truncated or swapped model shows first. None is longer than 100 tokens, so that small models take them.
PROBE_TEXTS = (
    "tide",
    "The keeper of the lighthouse writes down every ship that passes after dark.",
    "THE KEEPER OF THE LIGHTHOUSE WRITES DOWN EVERY SHIP THAT PASSES AFTER DARK.",
    "The keeper of the lighthouse writes down no ship that passes after dark.",
    "A refund reaches the customer's account within 14 days; orders above 2,500.00 euros need a second signature (form "
    "B-17). If the parcel was opened, the shop keeps up to 15 % of the price, and what was made to measure cannot be "
    "returned at all. Whoever waits for longer than three weeks should write to the address at the end of the invoice.",
    "Die Bäckerei am Fluss öffnet um sechs, nur sonntags bleibt der Ofen kalt.",
    "El tren de las ocho salió con retraso porque una vaca dormía en la vía.",
    "図書館は雨の日だけ夜九時まで開いています。",
    "يغلق السوق القديم أبوابه عند غروب الشمس في الشتاء.",
    "def median(values):\n    ordered = sorted(values)\n    return ordered[len(ordered) // 2]",
    "SELECT city, count(*) FROM visits WHERE day >= '2031-04-01' GROUP BY city ORDER BY 2 DESC",
)
#: Embedded as queries, because a model may change on one side only.
PROBE_QUERIES = ("when does the old market close in winter?", "how long does a refund take")
#: Least cosine at which two vectors of one text come from the same model. Not 1, because hosted models are not
#: bit-deterministic; verification re-embeds samples with the same number.
THRESHOLD = 0.999
#: Most by which lengths may differ where the space does not normalise them.
LENGTH_THRESHOLD = 0.01
#: How long a proof holds, in seconds.
EVERY_S = 300.0


def record(door: EmbeddingDoor) -> Vectors:
    """Return what a model gives for the probes now; float32, shape (13, d), documents first.

    Raises:
        UndriftError: as `EmbeddingDoor.fresh` and `EmbeddingDoor.query`.
    """
    queries = [door.query(text) for text in PROBE_QUERIES]
    return np.concatenate([door.fresh(PROBE_TEXTS), np.stack(queries)])


def prove(door: EmbeddingDoor, reference: Vectors, model: str) -> None:
    """Pass when a model still gives the vectors of a reference.

    Args:
        door: the model; its cache is not asked.
        reference: what `record` returned, shape (13, d).
        model: the name for the message.

    Raises:
        ModelChanged: a vector points elsewhere than it did, or has other dimensions.
        BadArgument: the reference was not made of these probes.
    """
    if reference.ndim != 2 or len(reference) != len(PROBE_TEXTS) + len(PROBE_QUERIES):
        raise BadArgument(
            f"the probe reference of model {model} has the shape {reference.shape}",
            f"{len(PROBE_TEXTS) + len(PROBE_QUERIES)} probes are embedded; it was recorded with others",
        )
    if reference.shape[1] != door.space.dimensions:
        raise _changed(
            model, f"its vectors have {door.space.dimensions} dimensions, and {reference.shape[1]} were recorded"
        )
    try:
        now = record(door).astype(np.float64)
    except MalformedVectors as error:
        raise _changed(model, error.detail) from error
    then = reference.astype(np.float64)
    lengths_now, lengths_then = np.linalg.norm(now, axis=1), np.linalg.norm(then, axis=1)
    cosines = (now * then).sum(axis=1) / (lengths_now * lengths_then)
    worst = int(np.argmin(cosines))
    # Not `<`: a reference that is damaged (NaN) proves nothing.
    if not cosines[worst] >= THRESHOLD:
        raise _changed(
            model,
            f"cosine of the probes, now against recorded: least {cosines[worst]:.6f}, mean {cosines.mean():.6f}; "
            f"at least {THRESHOLD} is required\nleast alike is probe {worst + 1}: {_probe(worst)!r}",
        )
    stretched = np.abs(lengths_now / lengths_then - 1)
    worst = int(np.argmax(stretched))
    if stretched[worst] > LENGTH_THRESHOLD:
        raise _changed(
            model,
            f"the vectors point where they did, but probe {worst + 1} is {lengths_now[worst]:.4g} long, "
            f"and {lengths_then[worst]:.4g} was recorded",
        )


def prove_by(canary: Canary, model: str) -> None:
    """Pass when a model still gives the vectors of its baseline, as far as its own noise lets anybody tell.

    A change that no ranking shows (less than 1e-4) passes: the look-out tells of it.

    Raises:
        ModelChanged: two looks found a change that matters.
        UndriftError: the model could not be asked.
    """
    judged = canary.judge()
    if judged.verdict is Verdict.CHANGED and judged.look.severity is not Severity.INFO:
        raise _changed(model, _of_judgement(judged), f"undrift probe run {model}")


def vouch(door: EmbeddingDoor, reference: Vectors, repeats: int, model: str) -> None:
    """Pass when what a model gives now, its noise included, is what its space was recorded with.

    It comes before a first baseline, which must not make a change that nobody saw the truth.

    Raises:
        ModelChanged: it is not.
        UndriftError: as `record`.
    """
    made = np.stack([record(door) for _ in range(repeats)]).astype(np.float64)
    made /= np.linalg.norm(made, axis=2, keepdims=True)
    then = reference.astype(np.float64)
    then /= np.linalg.norm(then, axis=1, keepdims=True)
    if then.shape != made.shape[1:]:
        raise _changed(model, f"{then.shape[1]} dimensions were recorded, and it gives {made.shape[2]}")
    apart = ((made[:, None] - made[None]) ** 2).sum(axis=3).max(axis=(0, 1)) / 2
    moved = ((made - then) ** 2).sum(axis=2).min(axis=0) / 2
    over = moved - np.maximum(1 - THRESHOLD, _NOISE * apart)
    worst = int(np.argmax(over))
    # Not `>`: a reference that is damaged (NaN) proves nothing.
    if not over[worst] <= 0:
        raise _changed(
            model, f"probe {worst + 1} is {moved[worst]:.2e} from what was recorded, and its repeats {apart[worst]:.2e}"
        )


#: So many times as far as repeats are apart may a reference be from them: it is one more repeat, of another day.
_NOISE = 3.0


class ModelProof:
    """Proves a model before its first use and again every so often; safe to ask from several threads.

    With a canary, each call in between embeds one probe more, so that a swap is seen within one batch.

    Everybody waits for a proof that is under way: what one thread embeds while another finds out that the model has
    changed would be in the wrong space.
    """

    def __init__(
        self,
        door: EmbeddingDoor,
        reference: Vectors,
        *,
        model: str,
        clock: Clock,
        every_s: float = EVERY_S,
        canary_of: Callable[[], Canary | None] = lambda: None,
    ) -> None:
        """Remember what to prove; nothing is embedded yet.

        Args:
            door: the model.
            reference: what `record` returned when the space was recorded.
            model: the name for the message.
            clock: what the proof's age is measured with.
            every_s: how long a proof holds, in seconds.
            canary_of: returns what looks at the model by the baseline that counts now, None where none is recorded; the
                reference is not needed then. Asked before each proof, because a baseline may have been recorded or
                accepted meanwhile, by another process.
        """
        self._canary_of = canary_of
        self._canary: Canary | None = None
        self._glances = 0
        self._door = door
        self._reference = reference
        self._model = model
        self._clock = clock
        self._every_s = every_s
        self._lock = threading.Lock()
        self._looked_at: float | None = None
        self._proven_at: float | None = None
        self._error: UndriftError | None = None

    @property
    def door(self) -> EmbeddingDoor:
        """The model that is proven."""
        return self._door

    @property
    def proven_at(self) -> float | None:
        """When the model last passed, on the clock's `monotonic`; what was embedded since then is in doubt."""
        return self._proven_at

    def check(self) -> None:
        """Pass when the model is proven; look only when the last result is older than `every_s`.

        Raises:
            ModelChanged: it has changed; raised again at every call until a later look finds the old model back.
            UndriftError: the model could not be asked; the next call tries again.
        """
        # Asked with no lock held, for it asks the ledger, which may be slow.
        canary = self._canary_of() if self._is_due() else self._canary
        with self._lock:
            if self._is_due():
                self._look(canary)
            elif self._canary is not None and self._error is None and math.isfinite(self._every_s):
                self._glances += 1
                if not self._canary.glance(self._glances):
                    self._look(self._canary)
            if self._error is not None:
                # A new one each time: one that several threads raise would grow their tracebacks.
                raise ModelChanged(self._error.message, self._error.detail, self._error.hint)

    def _is_due(self) -> bool:
        return self._looked_at is None or self._clock.monotonic() - self._looked_at >= self._every_s

    def _look(self, canary: Canary | None) -> None:
        self._canary = canary
        began = self._clock.monotonic()
        try:
            if canary is not None:
                prove_by(canary, self._model)
            else:
                prove(self._door, self._reference, self._model)
        except ModelChanged as error:
            self._error = error
        else:
            self._error = None
            # The model may have changed while it answered the last probes.
            self._proven_at = began
        self._looked_at = began


def _probe(number: int) -> str:
    return (*PROBE_TEXTS, *PROBE_QUERIES)[number][:60]


def _of_judgement(judged: Judgement) -> str:
    seen, diagnosis = judged.look, judged.diagnosis
    looks_like = f"it looks like {diagnosis.words}\n" if diagnosis is not None else ""
    return (
        f"{looks_like}the probes are displaced by {seen.size:.1e} on average (p = {seen.p_value:.1e}), "
        f"{int(seen.jumped.sum())} of {len(seen.jumped)} by themselves; cosine: least {seen.cosines.min():.6f}, "
        f"mean {seen.cosines.mean():.6f}"
    )


def _changed(model: str, detail: str, look: str = "") -> ModelChanged:
    cure = "bring the old revision back, or add the new one as another model and migrate: undrift plan ALIAS --to MODEL"
    return ModelChanged(
        f"model {model} no longer gives the vectors that its space was recorded with",
        detail,
        f"{cure}; {look} looks again" if look else cure,
    )
