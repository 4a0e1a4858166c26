"""The canary at work: a baseline is recorded and kept, looks are confirmed, and a change is named."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import numpy as np
import pytest

from undrift.adapters.embedders.callable import CallableEmbedder
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.domain.baseline import Baseline
from undrift.domain.probe import Probe, traits_of, unaccented
from undrift.domain.probe_texts import shipped
from undrift.domain.record import Vectors
from undrift.errors import BadArgument, TextTooLong
from undrift.flow.canary import CUTS, Canary, companions_of, record
from undrift.flow.embed import EmbeddingDoor
from undrift.quality.canary import Verdict
from undrift.quality.diagnosis import Kind
from undrift.testing.clock import VirtualClock

DIMENSIONS = 128
MODEL = HashingEmbedder(dimensions=DIMENSIONS)
MOMENT = datetime(2026, 11, 23, tzinfo=UTC)


class Changing:
    """A model behind one name; what it does may be replaced."""

    def __init__(self, now: Callable[[Sequence[str]], Vectors]) -> None:
        self.now = now
        self.texts = 0

    def __call__(self, texts: Sequence[str]) -> Vectors:
        self.texts += len(texts)
        return self.now(texts)

    def door(self, *, normalized: bool = True) -> EmbeddingDoor:
        embedder = CallableEmbedder(function=self, dimensions=DIMENSIONS, name="changing", normalized=normalized)
        return EmbeddingDoor(embedder, clock=VirtualClock())


def sees_case(texts: Sequence[str]) -> Vectors:
    """Give vectors that depend on capitals, accents and a hundred words; `MODEL` itself knows no capitals."""
    return MODEL.embed_documents([" ".join(marked(word) for word in text.split()[:500]) for text in texts])


def marked(word: str) -> str:
    return f"{word}C" if word != word.lower() else word


def noisy(sizes: float, seed: int = 0) -> Callable[[Sequence[str]], Vectors]:
    chance = np.random.default_rng(seed)

    def now(texts: Sequence[str]) -> Vectors:
        vectors = MODEL.embed_documents(texts).astype(np.float64)
        vectors += chance.standard_normal(vectors.shape) * np.sqrt(2 * sizes / DIMENSIONS)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1)[:, None], dtype=np.float32)

    return now


#: All but the longest, which only cost time here.
PROBES = [probe for probe in shipped() if probe.traits.words < 1000]


def recorded(model: Changing, repeats: int = 4) -> Baseline:
    return record(model.door(normalized=False), PROBES, model="m", repeats=repeats, moment=MOMENT)


def test_the_shipped_probes_are_of_every_stratum_and_all_different() -> None:
    probes = shipped()
    strata = {probe.stratum for probe in probes}

    assert len(probes) >= 32
    assert len(strata) >= 10
    assert len({probe.text for probe in probes}) == len(probes)
    assert all(any(one.traits.words > words * 1.2 for one in probes) for words in CUTS)
    assert all(probe.traits.accents for probe in probes if probe.stratum == "accented")
    assert all(probe.text.isupper() for probe in probes if probe.stratum == "upper")
    assert all(probe.traits.script for probe in probes if probe.stratum == "script")
    assert all(probe.as_query for probe in probes if probe.stratum == "query")


def test_what_is_in_a_text_is_seen() -> None:
    assert unaccented("Größe: café") == "Große: cafe"
    assert traits_of("Größe").accents
    assert not traits_of("Größe").script
    assert traits_of("мосты й").script
    assert not traits_of("plain words").capitals
    assert traits_of("a FINAL notice").shouted
    assert not traits_of("A plain Word").shouted
    assert not traits_of("12 EUR").small


def test_a_baseline_is_kept_as_it_was_recorded() -> None:
    made = recorded(Changing(noisy(1e-5)))

    again = Baseline.from_text(made.as_text())

    assert (again.probes, again.companions, again.number) == (made.probes, made.companions, 1)
    assert np.array_equal(again.calls, made.calls)
    assert np.array_equal(again.treated, made.treated)
    assert again.recorded == MOMENT


def test_a_model_that_stays_is_looked_at_once() -> None:
    model = Changing(noisy(1e-5))
    canary = Canary(model.door(), recorded(model))

    judged = canary.judge()

    assert (judged.verdict, judged.looks, judged.diagnosis) == (Verdict.UNCHANGED, 1, None)
    assert canary.floor.noise == pytest.approx(3e-5, rel=0.5)


def test_a_provider_whose_repeats_differ_widely_is_not_refused() -> None:
    model = Changing(noisy(0.04))
    canary = Canary(model.door(), recorded(model))

    assert canary.floor.noise > 0.05
    assert [canary.judge().verdict for _ in range(5)] == [Verdict.UNCHANGED] * 5
    assert all(canary.glance(number) for number in range(60))


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        (lambda texts: MODEL.embed_documents([text[::-1] for text in texts]), Kind.MODEL),
        (lambda texts: MODEL.embed_documents([f"query: {text}" for text in texts]), Kind.PREFIX),
        (lambda texts: MODEL.embed_documents([f"instruct: search\n{text}" for text in texts]), Kind.PREFIX),
        (lambda texts: MODEL.embed_documents([" ".join(text.split()[:64]) for text in texts]), Kind.TRUNCATION),
        (lambda texts: MODEL.embed_documents([" ".join(text.split()[:400]) for text in texts]), Kind.TRUNCATION),
        (lambda texts: MODEL.embed_documents([unicodedata.normalize("NFD", text) for text in texts]), Kind.ACCENTS),
        (lambda texts: MODEL.embed_documents([unaccented(text) for text in texts]), Kind.ACCENTS),
        (sees_case, Kind.CASE),
        (lambda texts: MODEL.embed_documents(texts) * np.float32(3.0), Kind.NORM),
        (lambda texts: MODEL.embed_documents(texts)[:, ::-1].copy(), Kind.ROTATION),
        (lambda texts: np.round(MODEL.embed_documents(texts) * 400) / np.float32(400), Kind.PRECISION),
    ],
    ids=["swap", "prefix", "instruction", "cut", "cut late", "NFD", "stripped", "case", "norm", "turned", "int8"],
)
def test_a_change_is_found_confirmed_and_named(changed: Callable[[Sequence[str]], Vectors], kind: Kind) -> None:
    model = Changing(MODEL.embed_documents)
    canary = Canary(model.door(normalized=False), recorded(model))
    model.now = changed

    judged = canary.judge()

    assert (judged.verdict, judged.looks) == (Verdict.CHANGED, 2)
    assert judged.diagnosis is not None
    assert judged.diagnosis.kind is kind, judged.diagnosis.words


def test_what_a_model_ceases_to_do_is_named_as_well() -> None:
    """The other way round: the old model put a prefix in front of each text."""
    model = Changing(lambda texts: MODEL.embed_documents([f"passage: {text}" for text in texts]))
    canary = Canary(model.door(), recorded(model))
    model.now = MODEL.embed_documents

    diagnosis = canary.judge().diagnosis

    assert diagnosis is not None
    assert (diagnosis.kind, diagnosis.sure) == (Kind.PREFIX, True)
    assert "no longer puts" in diagnosis.words
    assert "passage:" in diagnosis.words


def test_one_glance_sees_a_swap_and_costs_one_text() -> None:
    model = Changing(MODEL.embed_documents)
    canary = Canary(model.door(), recorded(model))
    before = model.texts

    assert canary.glance(0)
    assert model.texts == before + 1
    model.now = HashingEmbedder(dimensions=DIMENSIONS, seed="other").embed_documents
    assert not any(canary.glance(number) for number in range(40))


def test_probes_that_a_model_does_not_take_are_left_out() -> None:
    def short(texts: Sequence[str]) -> Vectors:
        if any(len(text.split()) > 250 for text in texts):
            raise TextTooLong("a text is too long")
        return MODEL.embed_documents(texts)

    made = recorded(Changing(short))

    assert made.left_out == sum(len(probe.text.split()) > 250 for probe in PROBES)
    assert len(made.probes) == len(PROBES) - made.left_out


def test_too_few_calls_or_texts_are_refused() -> None:
    model = Changing(MODEL.embed_documents)

    with pytest.raises(BadArgument, match="too few to know"):
        recorded(model, repeats=3)
    with pytest.raises(BadArgument, match="16 are needed"):
        record(model.door(), shipped()[:10], model="m", repeats=4, moment=MOMENT)


def test_companions_are_other_texts_than_their_probes() -> None:
    probes = [*shipped(), Probe(text="ALL OF IT", stratum="own")]
    companions = companions_of(probes)

    assert {one.kind for one in companions} == {"prefix", "lower", "upper", "unaccented", "cut"}
    assert all(one.text != probes[one.row].text for one in companions)
