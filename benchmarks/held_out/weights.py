"""Ways in which the weights of a real model become others: fine-tuned, adapted, merged, rounded, damaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.held_out.bert import Bert, padded

#: Texts and tokens of a step of training.
_PAIRS, _TOKENS = 12, 48


def rounded(bits: int, *, group: int | None = None) -> Callable[[str, Any], Any]:
    """Return what rounds a matrix to levels of so many bits: by group, by row (0), or all with one step (None)."""

    def change(_name: str, one: Any) -> Any:
        import torch

        most = 2 ** (bits - 1) - 1
        parts = one.reshape(1, -1) if group is None else one if group == 0 else one.reshape(-1, group)
        steps = parts.abs().amax(1, keepdim=True).clamp_min(1e-12) / most
        return (torch.round(parts / steps).clamp(-most, most) * steps).reshape(one.shape)

    return change


def as_format(name: str) -> Callable[[str, Any], Any]:
    """Return what writes a matrix in another number format of torch, and reads it back."""

    def change(_name: str, one: Any) -> Any:
        import torch

        return one.to(getattr(torch, name)).to(one.dtype)

    return change


def noisy(share: float, *, part: str = "", seed: int = 3) -> Callable[[str, Any], Any]:
    """Return what adds noise of a share of a matrix's own spread, to those whose name has a part."""

    def change(name: str, one: Any) -> Any:
        import torch

        noise = np.random.default_rng([seed, *name.encode()]).standard_normal(tuple(one.shape))
        return one + share * one.std() * torch.tensor(noise, dtype=one.dtype) if part in name else one

    return change


def low_rank(size: float, rank: int, *, part: str = "attention.self") -> Callable[[str, Any], Any]:
    """Return what adds a product of two thin random matrices, of a share of a matrix's own length."""

    def change(name: str, one: Any) -> Any:
        import torch

        if part not in name:
            return one
        chance = np.random.default_rng([5, *name.encode()])
        thin = chance.standard_normal((one.shape[0], rank)) @ chance.standard_normal((rank, one.shape[1]))
        return one + torch.tensor(thin / np.linalg.norm(thin), dtype=one.dtype) * one.norm() * size

    return change


def pruned(share: float) -> Callable[[str, Any], Any]:
    """Return what sets the smallest numbers of the layers' matrices to zero."""

    def change(name: str, one: Any) -> Any:
        if "encoder" not in name:
            return one
        least = float(np.quantile(one.abs().numpy(), share))
        return one * (one.abs() > least)

    return change


def between(model: Bert, other: Bert, share: float) -> Bert:
    """Return a model whose weights lie between those of two."""
    return replace(
        model, weights={name: one + share * (other.weights[name] - one) for name, one in model.weights.items()}
    )


def tuned(
    model: Bert, texts: Sequence[str], *, steps: int, rate: float, seed: int, part: str = "", rank: int = 0
) -> Bert:
    """Return a model after steps of training to tell apart the halves of texts that belong together.

    Args:
        model: the one to start from.
        texts: those to train on.
        steps: how many.
        rate: the learning rate.
        seed: of the order of the texts.
        part: only weights whose name has it are trained.
        rank: train thin matrices beside the queries and values of each layer instead, of this rank; 0 for none.
    """
    import torch

    chance = np.random.default_rng(seed)
    places = {name: one.clone() for name, one in model.weights.items()}
    thin: dict[str, tuple[Any, Any]] = {}
    if rank:
        for name in (name for name in places if name.endswith(("query.weight", "value.weight"))):
            wide = torch.tensor(chance.standard_normal((rank, places[name].shape[1])) / 20, dtype=torch.float32)
            thin[name] = torch.zeros(places[name].shape[0], rank).requires_grad_(), wide.requires_grad_()
        trained = [one for pair in thin.values() for one in pair]
    else:
        trained = [one.requires_grad_() for name, one in places.items() if part in name]
    optimizer = torch.optim.AdamW(trained, lr=rate)
    for _ in range(steps):
        chosen = [texts[row].split() for row in chance.choice(len(texts), _PAIRS, replace=False)]
        halves = [
            " ".join(words[: len(words) // 2] if side == 0 else words[len(words) // 2 :])
            for side in (0, 1)
            for words in chosen
        ]
        now = replace(
            model, weights={**places, **{name: places[name] + left @ right for name, (left, right) in thin.items()}}
        )
        ids, mask = padded([now.tokens(text)[:_TOKENS] for text in halves])
        vectors = torch.nn.functional.normalize(model.pool(now.forward(ids, mask)), dim=1)
        likeness = 20 * vectors[:_PAIRS] @ vectors[_PAIRS:].T
        loss = torch.nn.functional.cross_entropy(likeness, torch.arange(_PAIRS))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        added = {name: places[name] + left @ right for name, (left, right) in thin.items()}
        return replace(model, weights={name: one.detach() for name, one in {**places, **added}.items()})
