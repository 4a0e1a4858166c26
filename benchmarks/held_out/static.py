"""Another family of models: token vectors that are averaged, with the weights of the package wordllama."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.held_out.bert import Numbers, same, unit
from benchmarks.held_out.cases import Case
from undrift.domain.probe import unaccented


def _sum(vectors: Numbers) -> Numbers:
    found: Numbers = vectors.sum(axis=0)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Static:
    """A model: each part can be replaced.

    Attributes:
        tokenizer: takes texts apart.
        table: the vectors of all tokens, shape (v, d).
        text: what is done to a text first.
        most: tokens that are kept.
        pool: how vectors of tokens become one.
        after: what is done to the vectors last.
    """

    tokenizer: Any
    table: Numbers
    text: Callable[[str], str] = same
    most: int = 10**6
    pool: Callable[[Numbers], Numbers] = _sum
    after: Callable[[Numbers], Numbers] = unit

    @classmethod
    def load(cls) -> Static | None:
        """Read the model; None where it is not installed."""
        found = find_spec("wordllama")
        if found is None or found.origin is None:
            return None
        from safetensors import safe_open
        from tokenizers import Tokenizer

        place = Path(found.origin).parent
        with safe_open(place / "weights" / "l2_supercat_256.safetensors", framework="np") as kept:
            table = kept.get_tensor("embedding.weight").astype(np.float64)
        tokenizer = Tokenizer.from_file(str(place / "tokenizers" / "l2_supercat_tokenizer_config.json"))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return cls(tokenizer=tokenizer, table=table)

    def embed(self, texts: Sequence[str]) -> Numbers:
        """Return the vectors of texts, float64, shape (n, d)."""
        made = self.tokenizer.encode_batch_fast([self.text(text) for text in texts], add_special_tokens=False)
        return self.after(np.stack([self.pool(self.table[one.ids[: self.most]]) for one in made]))


Change = Callable[[Static], Static]


def _text(change: Callable[[str], str]) -> Change:
    return lambda model: replace(model, text=change)


def _table(change: Callable[[Numbers], Numbers]) -> Change:
    return lambda model: replace(model, table=change(model.table))


def _pool(pool: Callable[[Numbers], Numbers]) -> Change:
    return lambda model: replace(model, pool=pool)


def _noise(share: float) -> Change:
    def change(table: Numbers) -> Numbers:
        return table + share * table.std() * np.random.default_rng(31).standard_normal(table.shape)

    return _table(change)


def _headed(size: float) -> Change:
    """Put a linear head behind the model that is near one, as a head does that was trained for a few steps."""
    return lambda model: replace(
        model, after=lambda vectors: unit(vectors + size * (vectors @ _thin(vectors.shape[1])))
    )


def _thin(width: int) -> Numbers:
    chance = np.random.default_rng(32)
    found: Numbers = chance.standard_normal((width, 8)) @ chance.standard_normal((8, width)) / np.sqrt(8 * width)
    return found


def _by_rank(vectors: Numbers) -> Numbers:
    """Weigh what comes first most."""
    found: Numbers = (vectors / np.arange(1, len(vectors) + 1)[:, None]).sum(axis=0)
    return found


def _half_lost(table: Numbers) -> Numbers:
    """Lose every eighth token's vector."""
    found = table.copy()
    found[::8] = table.mean(axis=0)
    return found


def cases() -> list[Case[Static]]:
    """Return all changes; nothing was set on any of them."""
    turn = np.linalg.qr(np.random.default_rng(33).standard_normal((256, 256)))[0]
    table = [
        ("greatest of the tokens", "pooling", _pool(lambda one: one.max(axis=0))),
        ("first tokens weigh most", "pooling", _pool(_by_rank)),
        ("mean of directions", "pooling", _pool(lambda one: unit(one).sum(axis=0))),
        ("last token", "pooling", _pool(lambda one: one[-1])),
        ("search_document: ", "prefix", _text(lambda text: f"search_document: {text}")),
        ("classification: ", "prefix", _text(lambda text: f"classification: {text}")),
        ("French", "prefix", _text(lambda text: f"Document à retrouver : {text}")),
        ("passage and an end", "prefix", _text(lambda text: f"passage: {text}</s>")),
        ("128 tokens", "truncation", lambda model: replace(model, most=128)),
        ("512 tokens", "truncation", lambda model: replace(model, most=512)),
        ("2,000 letters", "truncation", _text(lambda text: text[:2000])),
        ("the last 500 letters", "truncation", _text(lambda text: text[-500:])),
        ("small letters", "case", _text(str.lower)),
        ("capitals", "case", _text(str.upper)),
        ("words in capitals become small", "case", _text(lambda text: " ".join(map(_quiet, text.split(" "))))),
        ("accents stripped", "accents", _text(unaccented)),
        ("letters and accents apart", "accents", _text(lambda text: unicodedata.normalize("NFD", text))),
        ("question marks", "accents", _text(lambda text: text.encode("ascii", "replace").decode())),
        ("bytes read as Latin-1", "accents", _text(lambda text: text.encode().decode("latin-1"))),
        ("int8 weights by row", "precision", _table(lambda one: _rounded(one, 127))),
        ("int4 weights by row", "precision", _table(lambda one: _rounded(one, 7))),
        ("int8 vectors", "precision", _after(lambda one: _rounded(one, 127))),
        ("float16 vectors", "precision", _after(lambda one: one.astype(np.float16).astype(np.float64))),
        ("four decimals", "precision", _after(lambda one: np.round(one, 4))),
        ("signs only", "precision", _after(np.sign)),
        ("a head", "weights", _headed(0.03)),
        ("a strong head", "weights", _headed(0.3)),
        ("noise of 2 %", "weights", _noise(0.02)),
        ("noise of 20 %", "weights", _noise(0.2)),
        ("every eighth token lost", "weights", _table(_half_lost)),
        ("not normalised", "norm", lambda model: replace(model, after=lambda one: one)),
        ("1 % shorter", "norm", _after(lambda one: 0.99 * one)),
        ("sum of 1", "norm", _after(lambda one: one / np.abs(one).sum(axis=1, keepdims=True))),
        ("turned", "rotation", _after(lambda one: one @ turn)),
        ("axes the other way round", "rotation", _after(lambda one: one[:, ::-1])),
    ]
    return [Case(name=name, kinds=(kind,), after=change) for name, kind, change in table]


def _after(change: Callable[[Numbers], Numbers]) -> Change:
    return lambda model: replace(model, after=lambda vectors: change(model.after(vectors)))


def _rounded(vectors: Numbers, levels: int) -> Numbers:
    steps = np.abs(vectors).max(axis=1, keepdims=True) / levels
    return np.round(vectors / np.maximum(steps, 1e-12)) * steps


def _quiet(word: str) -> str:
    return word.lower() if word.isupper() else word
