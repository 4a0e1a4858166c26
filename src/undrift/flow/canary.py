"""The canary at work: embeds the probes, learns a model's noise once, and tells when the model has changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from undrift.domain.baseline import Baseline, Companion, key_of
from undrift.domain.probe import Probe, unaccented
from undrift.domain.record import Vectors
from undrift.errors import BadArgument, EmbedderRejected, MalformedVectors, ModelUnavailable, TextTooLong
from undrift.flow.embed import EmbeddingDoor
from undrift.flow.oversight import UNSEEN, Oversight
from undrift.ports.memory import Memo, MemoryLedger
from undrift.quality import canary, diagnosis
from undrift.quality.canary import Broken, Look, Verdict
from undrift.quality.diagnosis import Diagnosis

#: The stratum of a user's own texts.
OWN = "own"
#: Texts in a request. A call is several requests, so that servers of several kinds that take turns show within it.
AT_ONCE = 8
#: Probes that have companions, of each kind.
_COMPANIONS = 4
#: Prefixes that model cards ask for; whoever forgets one, or adds one, most likely means one of these.
PREFIXES = ("query: ", "passage: ", "search_document: ", "search_query: ", "Represent this sentence: ")
#: Words that are left of a text that is cut at 64, 128, 256, 512, 2,048 and 8,192 tokens, more or less.
CUTS = (48, 96, 195, 390, 1560, 6000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the canary says of a model.

    Attributes:
        verdict: changed only where a second look found it too.
        look: the look that decided.
        diagnosis: what a change looks like; None where there is none.
        looks: how many looks it took.
    """

    verdict: Verdict
    look: Look
    diagnosis: Diagnosis | None
    looks: int


class Canary:
    """Looks at one model by one baseline."""

    def __init__(self, door: EmbeddingDoor, baseline: Baseline, *, oversight: Oversight = UNSEEN) -> None:
        """Learn the model's noise from the baseline; nothing is embedded yet.

        Args:
            door: the model.
            baseline: what it gave when it was trusted.
            oversight: asked before each call of the model.
        """
        self._door = door
        self._oversight = oversight
        self.baseline = baseline
        self.floor = canary.learn(baseline.calls)

    def look(self, number: int = 0) -> Look:
        """Embed all probes twice and compare.

        Args:
            number: decides the order in which they are sent.

        Raises:
            UndriftError: the model could not be asked.
        """
        probes = self.baseline.probes
        try:
            asked = [ask(self._door, probes, 2 * number + call, oversight=self._oversight) for call in (1, 2)]
        except MalformedVectors:
            return canary.unreadable(Broken.DIMENSIONS, len(probes))
        return canary.look(self.floor, np.stack(asked))

    def judge(self) -> Judgement:
        """Look, and look again where something seems to have changed; then say what it looks like.

        Raises:
            UndriftError: the model could not be asked.
        """
        first = self.look(1)
        if first.verdict is not Verdict.CHANGED:
            return Judgement(verdict=first.verdict, look=first, diagnosis=None, looks=1)
        second = self.look(2)
        if second.verdict is not Verdict.CHANGED:
            return Judgement(verdict=second.verdict, look=second, diagnosis=None, looks=2)
        return Judgement(verdict=Verdict.CHANGED, look=second, diagnosis=self._explain(second), looks=2)

    def glance(self, number: int) -> bool:
        """Embed one probe and say whether it is where it was; for those who cannot wait for a look.

        Args:
            number: which probe, counted on and on; the longest ones are left to looks.

        Raises:
            UndriftError: the model could not be asked.
        """
        short = [row for row, probe in enumerate(self.baseline.probes) if len(probe.text) <= _GLANCED_AT]
        if not short:
            return True
        row = short[number % len(short)]
        try:
            vector = ask(self._door, [self.baseline.probes[row]], 0, oversight=self._oversight)[0].astype(np.float64)
        except MalformedVectors:
            return False
        length = np.linalg.norm(vector)
        if not np.isfinite(length) or length == 0:
            return False
        stretch = abs(float(np.log(length / self.floor.lengths[row])))
        apart = ((self.floor.calls[:, row] - vector / length) ** 2).sum(axis=1) / 2
        return bool(apart.min() <= self.floor.jump[row]) and stretch <= max(1e-3, 3 * float(self.floor.stretch[row]))

    def _explain(self, seen: Look) -> Diagnosis:
        """Say what a change looks like; the present model is asked for the companions as well."""
        if not len(seen.fresh):
            return diagnosis.diagnose(self.floor, seen, [probe.traits for probe in self.baseline.probes])
        companions = self.baseline.companions
        texts = [Probe(text=one.text, stratum=one.kind) for one in companions]
        now = ask(self._door, texts, 0, oversight=self._oversight) if texts else None
        return diagnosis.diagnose(
            self.floor,
            seen,
            [probe.traits for probe in self.baseline.probes],
            companions=companions,
            then=self.baseline.treated,
            now=now,
            shipped=[probe.stratum != OWN for probe in self.baseline.probes],
        )


#: Letters of a probe that is worth a glance.
_GLANCED_AT = 300


class CurrentCanary:
    """Gives the canary of the baseline that counts now; a process that runs for weeks sees what others record."""

    def __init__(self, door: EmbeddingDoor, ledger: MemoryLedger) -> None:
        """Read nothing yet.

        Args:
            door: the model.
            ledger: where its baseline is kept.
        """
        self._door = door
        self._ledger = ledger
        self._learned: tuple[Memo | None, Canary | None] = (None, None)

    def __call__(self) -> Canary | None:
        """Return the canary, or None where no baseline is recorded; learned anew only where the baseline is another."""
        memo = self._ledger.recall(key_of(self._door.space.id))
        known, learned = self._learned
        if memo != known:
            learned = None if memo is None else Canary(self._door, Baseline.from_text(memo.text))
            self._learned = memo, learned
        return learned


def record(
    door: EmbeddingDoor,
    probes: Sequence[Probe],
    *,
    model: str,
    repeats: int,
    moment: datetime,
    wait: Callable[[int], None] = lambda _: None,
) -> Baseline:
    """Embed the probes so many times.

    Args:
        door: the model.
        probes: the texts; those that the model does not take are left out.
        model: its name in the configuration.
        repeats: how many calls, at least four.
        moment: the wall clock now.
        wait: called between two calls with the number of the next one.

    Returns:
        A baseline with the number 1.

    Raises:
        BadArgument: the model takes too few of the probes, or the calls are too few.
        UndriftError: the model could not be asked.
    """
    if repeats < canary.LEAST_REPEATS:
        raise BadArgument(
            f"{repeats} calls per probe are too few to know a model's noise",
            hint=f"--repeats {canary.LEAST_REPEATS} or more",
        )
    kept = list(probes)
    try:
        first = ask(door, kept, 0)
    except ModelUnavailable:
        raise
    except (TextTooLong, EmbedderRejected):
        kept = [probe for probe in probes if _is_taken(door, probe)]
        first = None
    if len(kept) < canary.LEAST_PROBES:
        raise BadArgument(
            f"model {model} takes {len(kept)} of {len(probes)} probes, and {canary.LEAST_PROBES} are needed",
            hint=f"undrift probe record {model} --texts FILE with shorter texts",
        )
    calls = [ask(door, kept, 0) if first is None else first]
    for number in range(1, repeats):
        wait(number)
        calls.append(ask(door, kept, number))
    companions = companions_of(kept)
    baseline = Baseline(
        model=model,
        space=door.space.id,
        number=1,
        recorded=moment,
        probes=tuple(kept),
        calls=np.stack(calls),
        companions=companions,
        treated=ask(door, [Probe(text=one.text, stratum=one.kind) for one in companions], 0),
        left_out=len(probes) - len(kept),
    )
    # Fails where the calls are no vectors.
    canary.learn(baseline.calls)
    return baseline


def renumbered(baseline: Baseline, number: int) -> Baseline:
    """Return a baseline as the one that follows another."""
    return replace(baseline, number=number)


def ask(door: EmbeddingDoor, probes: Sequence[Probe], number: int, *, oversight: Oversight = UNSEEN) -> Vectors:
    """Embed texts past the cache and as they come, whatever is wrong with the vectors.

    Args:
        door: the model.
        probes: n texts.
        number: of the call; each sends them in another order, so that what a text's place in a request does is noise.
        oversight: asked before each call of the model.

    Returns:
        Float32, shape (n, d).
    """
    order = np.random.default_rng(number).permutation(len(probes))
    documents = [int(row) for row in order if not probes[row].as_query]
    found: dict[int, Vectors] = {}
    for start in range(0, len(documents), AT_ONCE):
        rows = documents[start : start + AT_ONCE]
        texts = [probes[row].text for row in rows]
        made = door.otherwise(texts, prefix=door.space.document_prefix, oversight=oversight)
        found.update(zip(rows, made, strict=True))
    found.update({row: door.raw_query(probe.text) for row, probe in enumerate(probes) if probe.as_query})
    return np.stack([found[row] for row in range(len(probes))])


def companions_of(probes: Sequence[Probe]) -> tuple[Companion, ...]:
    """Return the probes treated in the ways in which models begin, or cease, to treat texts.

    A cut is made by words, and a model cuts by tokens, so a companion is near what the model gives and not equal to it.
    """
    rows = [row for row, probe in enumerate(probes) if not probe.as_query]
    found = []
    short = [row for row in rows if probes[row].traits.words <= 20 and not probes[row].traits.script][:_COMPANIONS]
    found += [
        _treated(row, "prefix", prefix.strip(), prefix + probes[row].text) for row in short for prefix in PREFIXES
    ]
    for kind, treat in (("lower", str.lower), ("upper", str.upper), ("unaccented", unaccented)):
        changed = [row for row in rows if treat(probes[row].text) != probes[row].text]
        # Those of which most changes come first.
        changed.sort(key=lambda row: -_difference(probes[row].text, treat(probes[row].text)))
        found += [_treated(row, kind, kind, treat(probes[row].text)) for row in changed[:_COMPANIONS]]
    for words in CUTS:
        longer = [row for row in rows if words * 1.2 < probes[row].traits.words <= words * 8]
        for row in longer[:2]:
            found.append(_treated(row, "cut", str(words), " ".join(probes[row].text.split()[:words])))
    return tuple(found)


def _treated(row: int, kind: str, label: str, text: str) -> Companion:
    return Companion(row=row, kind=kind, label=label, text=text)


def _difference(left: str, right: str) -> float:
    return sum(one != other for one, other in zip(left, right, strict=False)) / len(left)


def _is_taken(door: EmbeddingDoor, probe: Probe) -> bool:
    try:
        ask(door, [probe], 0)
    except ModelUnavailable:
        raise
    except (TextTooLong, EmbedderRejected):
        return False
    return True
