"""What happens to models: the half that the diagnosis may be improved on, and the half that judges it."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.held_out.bert import Bert, Numbers, Tokens, first, mean, unit
from benchmarks.held_out.cases import Case
from benchmarks.held_out.weights import as_format, between, low_rank, noisy, pruned, rounded, tuned
from undrift.domain.probe import unaccented

Change = Callable[[Bert], Bert]


def _as_it_comes(model: Bert) -> Bert:
    return model


def _text(change: Callable[[str], str]) -> Change:
    return lambda model: replace(model, text=lambda text: change(model.text(text)))


def _both(one: Change, other: Change) -> Change:
    return lambda model: other(one(model))


def _prefix(words: str) -> Change:
    return _text(lambda text: words + text)


def _cut(keep: Callable[[list[int]], list[int]]) -> Change:
    return lambda model: replace(model, cut=keep)


def _pool(pool: Callable[[Tokens], Any]) -> Change:
    return lambda model: replace(model, pool=pool)


def _after(change: Callable[[Numbers], Numbers]) -> Change:
    return lambda model: replace(model, after=lambda vectors: change(model.after(vectors)))


def _raw(change: Callable[[Numbers], Numbers]) -> Change:
    return lambda model: replace(model, after=change)


def _weights(change: Callable[[str, Any], Any]) -> Change:
    return lambda model: model.matrices(change)


def _tokens(**options: bool) -> Change:
    return lambda model: replace(model, tokenizer={**model.tokenizer, **options})


def _within(tokens: Tokens, kept: Any) -> Any:
    share = kept[..., None].to(tokens.states[-1].dtype)
    return (tokens.states[-1] * share).sum(1) / share.sum(1).clamp_min(1e-9)


def _weighted(tokens: Tokens, weights: Any) -> Any:
    weights = (weights * tokens.mask)[..., None].to(tokens.states[-1].dtype)
    return (tokens.states[-1] * weights).sum(1) / weights.sum(1)


def _inner(tokens: Tokens) -> Any:
    """Leave the special tokens out, as long as there are others."""
    kept = tokens.mask & ~tokens.special
    return _within(tokens, kept | (tokens.mask & ~kept.any(1, keepdim=True)))


def _last(tokens: Tokens) -> Any:
    import torch

    rows = torch.arange(len(tokens.mask))
    return tokens.states[-1][rows, tokens.mask.sum(1) - 1]


def _median(tokens: Tokens) -> Any:
    import torch

    return torch.stack(
        [state[kept].median(0).values for state, kept in zip(tokens.states[-1], tokens.mask, strict=True)]
    )


def _greatest(tokens: Tokens) -> Any:
    return tokens.states[-1].masked_fill(~tokens.mask[..., None], -1e9).amax(1)


def _by_place(tokens: Tokens) -> Any:
    import torch

    return _weighted(tokens, torch.arange(1, tokens.mask.shape[1] + 1)[None, :] * tokens.mask)


def _without_last(tokens: Tokens) -> Any:
    kept = tokens.mask.clone()
    kept[range(len(kept)), kept.sum(1) - 1] = False
    return _within(tokens, kept)


def _two_layers(one: int, other: int) -> Callable[[Tokens], Any]:
    return lambda tokens: mean(replace(tokens, states=[(tokens.states[one] + tokens.states[other]) / 2]))


def _directions(tokens: Tokens) -> Any:
    from torch.nn.functional import normalize

    return mean(replace(tokens, states=[normalize(tokens.states[-1], dim=2)]))


def _mixed(tokens: Tokens) -> Any:
    from torch.nn.functional import normalize

    return normalize(mean(tokens), dim=1) + normalize(tokens.states[-1][:, 0], dim=1)


def _turn(size: int, seed: int) -> Numbers:
    found: Numbers = np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0]
    return found


def _small_turn(size: int, seed: int, angle: float) -> Numbers:
    made = np.random.default_rng(seed).standard_normal((size, size))
    slope, one = (made - made.T) * angle / np.sqrt(size) / 2, np.eye(size)
    found: Numbers = np.linalg.solve(one - slope, one + slope)
    return found


def _bytes(vectors: Numbers) -> Numbers:
    steps = np.abs(vectors).max(axis=1, keepdims=True) / 127
    return np.round(vectors / steps) * steps


def _bytes_of_all(vectors: Numbers) -> Numbers:
    """Round to 256 levels between two numbers that are the same for all vectors, as servers with a calibration do."""
    step = 0.4 / 255
    return np.clip(np.round((vectors + 0.2) / step), 0, 255) * step - 0.2


def _float8(vectors: Numbers) -> Numbers:
    import torch

    found: Numbers = torch.tensor(vectors * 16).to(torch.float8_e4m3fn).double().numpy() / 16
    return found


def _head(count: int) -> Callable[[str], str]:
    return lambda text: text[:count]


def _title(text: str) -> str:
    return text.title()


def _mojibake(text: str) -> str:
    """Read the bytes of the text as if they were Latin-1."""
    return text.encode().decode("latin-1")


def _ascii(text: str) -> str:
    return text.encode("ascii", "ignore").decode()


def _question_marks(text: str) -> str:
    return text.encode("ascii", "replace").decode()


def _decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def _capitals_first(text: str) -> str:
    """Lose the words in capitals, as a tokenizer does that knows none of them."""
    return " ".join("[UNK]" if word.isupper() and len(word) > 1 else word for word in text.split(" "))


def cases(texts: Sequence[str], width: int) -> list[Case[Bert]]:
    """Return all changes.

    Args:
        texts: what models are fine-tuned on, and the mean of vectors is taken over.
        width: dimensions of the vectors.
    """

    def train(**options: Any) -> Change:
        return lambda model: tuned(model, texts, **options)

    def merged(share: float, **options: Any) -> Change:
        return lambda model: between(model, tuned(model, texts, **options), share)

    def centred(model: Bert) -> Bert:
        middle = model.embed(texts[:60]).mean(axis=0)
        return replace(model, after=lambda vectors: unit(model.after(vectors) - middle))

    def whitened(model: Bert) -> Bert:
        made = model.embed(texts)
        middle = made.mean(axis=0)
        _, spread, ways = np.linalg.svd(made - middle, full_matrices=False)
        # A little of each axis stays, as all do who whiten with fewer texts than axes.
        scale = 1 / np.sqrt(spread**2 / len(made) + 1e-3)
        rest = 1 / np.sqrt(1e-3)

        def change(vectors: Numbers) -> Numbers:
            inner = (model.after(vectors) - middle) @ ways.T
            return unit(model.after(vectors) * rest - middle * rest + (inner * (scale - rest)) @ ways)

        return replace(model, after=change)

    cased, plain = _tokens(lowercase=False, strip_accents=False), _tokens(strip_accents=False)
    turn, permuted = _turn(width, 21), np.random.default_rng(22).permutation(width)
    signs = np.where(np.random.default_rng(23).random(width) < 0.5, 1.0, -1.0)
    norm, pooling, prefix, cut = ("norm",), ("pooling",), ("prefix",), ("truncation",)
    case, accents, precision, weights = ("case",), ("accents",), ("precision",), ("weights",)
    rotation = ("rotation",)
    return [
        Case(name="first token", kinds=pooling, after=_pool(lambda one: one.states[-1][:, 0]), judges=False),
        Case(name="maximum", kinds=pooling, after=_pool(_greatest), judges=False),
        Case(name="mean without special tokens", kinds=pooling, after=_pool(_inner), judges=False),
        Case(name="mean of the last two layers", kinds=pooling, after=_pool(_two_layers(-1, -2)), judges=False),
        Case(name="weighted by place", kinds=pooling, after=_pool(_by_place), judges=False),
        Case(name="last token", kinds=pooling, after=_pool(_last)),
        Case(name="mean without the last token", kinds=pooling, after=_pool(_without_last)),
        Case(name="mean of first and last layer", kinds=pooling, after=_pool(_two_layers(1, -1))),
        Case(name="first token and mean", kinds=pooling, after=_pool(_mixed)),
        Case(name="median", kinds=pooling, after=_pool(_median)),
        Case(name="mean of directions", kinds=pooling, after=_pool(_directions)),
        Case(name="mean, not last token any more", kinds=pooling, after=_pool(mean), before=_pool(_last)),
        Case(name="mean, not maximum any more", kinds=pooling, after=_pool(mean), before=_pool(_greatest)),
        Case(name="query: ", kinds=prefix, after=_prefix("query: "), judges=False),
        Case(
            name="instruct, English",
            kinds=prefix,
            after=_prefix("Instruct: Given a web search query, retrieve relevant passages\nQuery: "),
            judges=False,
        ),
        Case(name="clustering: ", kinds=prefix, after=_prefix("clustering: "), judges=False),
        Case(name="an end in brackets", kinds=prefix, after=_text(lambda text: text + " [EOS]"), judges=False),
        Case(name="query: no longer", kinds=prefix, after=_as_it_comes, before=_prefix("query: "), judges=False),
        Case(
            name="for searching passages",
            kinds=prefix,
            after=_prefix("Represent this sentence for searching relevant passages: "),
        ),
        Case(name="task: search result", kinds=prefix, after=_prefix("task: search result | query: ")),
        Case(name="title: none", kinds=prefix, after=_prefix("title: none | text: ")),
        Case(name="German", kinds=prefix, after=_prefix("Suchanfrage: ")),
        Case(name="Chinese", kinds=prefix, after=_prefix("为这个句子生成表示以用于检索相关文章：")),  # noqa: RUF001 - the text of a model card
        Case(name="passage, not query", kinds=prefix, after=_prefix("passage: "), before=_prefix("query: ")),
        Case(
            name="instruction no longer",
            kinds=prefix,
            after=_as_it_comes,
            before=_prefix("Represent the document for retrieval: "),
        ),
        Case(name="of a chat", kinds=prefix, after=_text(lambda text: f"<|user|>\n{text}<|assistant|>\n")),
        Case(name="first token twice", kinds=prefix, after=_prefix("[CLS] ")),
        Case(name="64 tokens", kinds=cut, after=_cut(first(62)), judges=False),
        Case(name="200 tokens", kinds=cut, after=_cut(first(198)), judges=False),
        Case(name="300 letters", kinds=cut, after=_text(_head(300)), judges=False),
        Case(name="the last 128 tokens", kinds=cut, after=_cut(lambda ids: ids[-126:]), judges=False),
        Case(name="32 tokens", kinds=cut, after=_cut(first(30))),
        Case(name="100 tokens", kinds=cut, after=_cut(first(98))),
        Case(name="512 tokens", kinds=cut, after=_cut(first(510))),
        Case(name="384 tokens", kinds=cut, after=_cut(first(382))),
        Case(name="1,000 letters", kinds=cut, after=_text(_head(1000))),
        Case(name="120 words", kinds=cut, after=_text(lambda text: " ".join(text.split(" ")[:120]))),
        Case(name="the last 256 tokens", kinds=cut, after=_cut(lambda ids: ids[-254:])),
        Case(
            name="both ends of 128", kinds=cut, after=_cut(lambda ids: ids if len(ids) <= 126 else ids[:63] + ids[-63:])
        ),
        Case(name="64 tokens no longer", kinds=cut, after=_as_it_comes, before=_cut(first(62))),
        Case(
            name="capitals are other letters",
            kinds=case,
            after=_tokens(lowercase=False, strip_accents=True),
            judges=False,
        ),
        Case(
            name="lower case, of a cased model",
            kinds=case,
            after=_both(cased, _text(str.lower)),
            before=cased,
            judges=False,
        ),
        Case(name="words in capitals are lost", kinds=case, after=_text(_capitals_first)),
        Case(name="upper case, of a cased model", kinds=case, after=_both(cased, _text(str.upper)), before=cased),
        Case(name="first letters become capitals", kinds=case, after=_both(cased, _text(_title)), before=cased),
        Case(name="small letters no longer", kinds=case, after=cased, before=plain),
        Case(name="accents stay", kinds=accents, after=plain, judges=False),
        Case(name="letters beyond ASCII are lost", kinds=accents, after=_text(_ascii), judges=False),
        Case(name="bytes read as Latin-1", kinds=accents, after=_text(_mojibake)),
        Case(name="question marks", kinds=accents, after=_text(_question_marks)),
        Case(name="letters and accents apart", kinds=accents, after=_both(plain, _text(_decomposed)), before=plain),
        Case(name="accents stripped", kinds=accents, after=_both(plain, _text(unaccented)), before=plain),
        Case(name="Chinese letters stay together", kinds=accents, after=_tokens(handle_chinese_chars=False)),
        Case(
            name="umlauts become two letters",
            kinds=accents,
            after=_text(lambda text: text.replace("ä", "ae").replace("ö", "oe").replace("ü", "ue").replace("ß", "ss")),
        ),
        Case(name="bfloat16 weights", kinds=precision, after=_weights(as_format("bfloat16")), judges=False),
        Case(name="int8 weights by row", kinds=precision, after=_weights(rounded(8, group=0)), judges=False),
        Case(name="int4 weights by row", kinds=precision, after=_weights(rounded(4, group=0)), judges=False),
        Case(name="int8 vectors", kinds=precision, after=_after(_bytes), judges=False),
        Case(name="float16 arithmetic", kinds=precision, after=lambda model: replace(model, dtype="float16")),
        Case(name="bfloat16 arithmetic", kinds=precision, after=lambda model: replace(model, dtype="bfloat16")),
        Case(name="int8 weights, one step", kinds=precision, after=_weights(rounded(8))),
        Case(name="int8 weights by 32", kinds=precision, after=_weights(rounded(8, group=32))),
        Case(name="int6 weights by 32", kinds=precision, after=_weights(rounded(6, group=32))),
        Case(name="int4 weights by 32", kinds=precision, after=_weights(rounded(4, group=32))),
        Case(name="float8 weights", kinds=precision, after=_weights(as_format("float8_e4m3fn"))),
        Case(name="float8 weights, coarse", kinds=precision, after=_weights(as_format("float8_e5m2"))),
        Case(name="tanh in the layers", kinds=precision, after=lambda model: replace(model, gelu="tanh")),
        Case(
            name="float16 vectors", kinds=precision, after=_after(lambda one: one.astype(np.float16).astype(np.float64))
        ),
        Case(name="three decimals", kinds=precision, after=_after(lambda one: np.round(one, 3))),
        Case(name="float8 vectors", kinds=precision, after=_after(_float8)),
        Case(name="bytes of a common range", kinds=precision, after=_after(_bytes_of_all)),
        Case(name="signs only", kinds=precision, after=_after(np.sign)),
        Case(name="signs only, of length 1", kinds=precision, after=_after(lambda one: unit(np.sign(one)))),
        Case(name="ten steps of training", kinds=weights, after=train(steps=10, rate=2e-5, seed=1), judges=False),
        Case(name="thirty steps of training", kinds=weights, after=train(steps=30, rate=5e-5, seed=2), judges=False),
        Case(name="noise of 1 %", kinds=weights, after=_weights(noisy(0.01)), judges=False),
        Case(name="last layer lost", kinds=weights, after=lambda model: replace(model, layers=range(5)), judges=False),
        Case(name="a thin random change", kinds=weights, after=_weights(low_rank(0.1, 4)), judges=False),
        Case(name="thin matrices trained", kinds=weights, after=train(steps=20, rate=1e-3, seed=4, rank=4)),
        Case(name="last layer trained", kinds=weights, after=train(steps=25, rate=5e-5, seed=5, part="layer.5")),
        Case(name="words trained", kinds=weights, after=train(steps=15, rate=2e-4, seed=6, part="word_embeddings")),
        Case(name="three steps of training", kinds=weights, after=train(steps=3, rate=1e-5, seed=7)),
        Case(name="merged, a third", kinds=weights, after=merged(0.33, steps=25, rate=5e-5, seed=8)),
        Case(name="a middle layer lost", kinds=weights, after=lambda model: replace(model, layers=(0, 1, 2, 4, 5))),
        Case(name="two layers swapped", kinds=weights, after=lambda model: replace(model, layers=(0, 1, 3, 2, 4, 5))),
        Case(name="noise of 3 % on words", kinds=weights, after=_weights(noisy(0.03, part="word_embeddings"))),
        Case(name="noise of 10 %", kinds=weights, after=_weights(noisy(0.1))),
        Case(name="30 % set to zero", kinds=weights, after=_weights(pruned(0.3))),
        Case(
            name="thin random change of the last layer", kinds=weights, after=_weights(low_rank(0.3, 8, part="layer.5"))
        ),
        Case(name="other weights altogether", kinds=(*weights, "model"), after=_weights(noisy(3.0))),
        Case(name="not normalised", kinds=norm, after=_raw(lambda one: one), judges=False),
        Case(name="twice as long", kinds=norm, after=_after(lambda one: 2 * one), judges=False),
        Case(name="length by dimensions", kinds=norm, after=_after(lambda one: one * np.sqrt(width))),
        Case(name="0.5 % longer", kinds=norm, after=_after(lambda one: 1.005 * one)),
        Case(name="sum of 1", kinds=norm, after=_after(lambda one: one / np.abs(one).sum(axis=1, keepdims=True))),
        Case(name="greatest of 1", kinds=norm, after=_after(lambda one: one / np.abs(one).max(axis=1, keepdims=True))),
        Case(name="normalised now", kinds=norm, after=_as_it_comes, before=_raw(lambda one: one)),
        Case(name="mean taken away", kinds=norm, after=centred),
        Case(name="whitened", kinds=norm, after=whitened),
        Case(name="turned", kinds=rotation, after=_after(lambda one: one @ turn), judges=False),
        Case(name="axes in another order", kinds=rotation, after=_after(lambda one: one[:, permuted])),
        Case(name="signs of axes", kinds=rotation, after=_after(lambda one: one * signs)),
        Case(name="turned a little", kinds=rotation, after=_after(lambda one: one @ _small_turn(width, 24, 0.3))),
        Case(name="all signs", kinds=rotation, after=_after(lambda one: -one)),
        Case(name="entities of HTML", kinds=("unknown",), after=_text(html.escape)),
    ]
