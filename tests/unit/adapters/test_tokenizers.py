"""Tokenizers of hosted models, from files, and what a plan says with and without them."""

from __future__ import annotations

import base64
import gzip
import importlib.util
import json
import os
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from undrift.adapters.feeds.table import shipped
from undrift.adapters.tokenizers.families import KNOWN, family
from undrift.adapters.tokenizers.files import tokenizer_at
from undrift.domain.catalogue import Catalogue, ModelKey
from undrift.domain.tokens import TokenEstimate, from_sample
from undrift.errors import BadConfig

#: So many texts of a collection are enough.
MOST = 3000


def wordllama() -> Path:
    found = importlib.util.find_spec("wordllama")
    if found is None or not found.submodule_search_locations:
        pytest.skip("wordllama is not installed")
    return Path(next(iter(found.submodule_search_locations)), "tokenizers", "l2_supercat_tokenizer_config.json")


def texts_of(folder: Path) -> list[str]:
    with gzip.open(folder / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [text for line in islice(lines, MOST) if (text := json.loads(line)["text"].strip())]


def test_a_tokenizer_json_counts_as_its_library_does() -> None:
    library = pytest.importorskip("tokenizers")
    texts = ["The ferry leaves at nine.", "Ω", ""]

    mine = tokenizer_at(wordllama()).count(texts)

    theirs = library.Tokenizer.from_file(str(wordllama()))
    theirs.no_padding()
    theirs.no_truncation()
    assert mine == [len(theirs.encode(text).ids) for text in texts]


def test_a_vocabulary_that_is_not_the_published_one_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("tiktoken")
    file = tmp_path / "cl100k_base.tiktoken"
    file.write_bytes(b"\n".join(base64.b64encode(bytes([byte])) + b" %d" % byte for byte in range(256)))

    with pytest.raises(BadConfig, match="not the vocabulary that OpenAI publishes as cl100k_base"):
        tokenizer_at(file)


def test_the_published_vocabulary_counts_as_tiktoken_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a maker of tiktoken's that asks for a vocabulary of bytes, so that none has to be fetched."""
    tiktoken = pytest.importorskip("tiktoken")
    from tiktoken_ext import openai_public

    def bytes_only() -> dict[str, Any]:
        ranks = load_tiktoken_bpe("https://nowhere/bytes_only.tiktoken")  # type: ignore[name-defined]  # noqa: F821 - a global of that library
        return {"name": "bytes_only", "pat_str": r".+", "mergeable_ranks": ranks, "special_tokens": {}}

    monkeypatch.setitem(openai_public.ENCODING_CONSTRUCTORS, "bytes_only", bytes_only)
    file = tmp_path / "bytes_only.tiktoken"
    pairs = [(bytes([byte]), byte) for byte in range(256)] + [(b"ab", 256)]
    file.write_bytes(b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in pairs))

    assert tiktoken.__version__
    assert tokenizer_at(file).count(["abc", "é", "<|endoftext|>"]) == [2, 2, 13]


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("missing.json", None, "there is no tokenizer"),
        ("other.model", "x", "is no tokenizer that undrift reads"),
        ("tokenizer.json", "{}", "cannot be read"),
        ("nobody.tiktoken", "x", "knows no encoding nobody"),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path: Path, name: str, content: str | None, named: str) -> None:
    pytest.importorskip("tokenizers")
    if name.endswith(".tiktoken"):
        pytest.importorskip("tiktoken")
    if content is not None:
        (tmp_path / name).write_text(content)

    with pytest.raises(BadConfig, match=named):
        tokenizer_at(tmp_path / name)


@pytest.mark.parametrize("name", ["cacm", "cosqa-dev", "tldr", "xquad-a"])
def test_an_estimate_from_a_sample_is_within_three_percent_on_real_collections(shared_data: Path, name: str) -> None:
    """Of a real tokenizer, from 1,000 texts, whichever are drawn; and the truth is in 95 % of the intervals."""
    pytest.importorskip("tokenizers")
    texts = texts_of(shared_data / name)
    sizes, counts = np.array([len(text) for text in texts]), np.array(tokenizer_at(wordllama()).count(texts))
    chance = np.random.default_rng(20261123)

    def estimate() -> TokenEstimate:
        chosen = chance.permutation(len(texts))[:1000]
        return from_sample(
            sizes[chosen].tolist(),
            counts[chosen].tolist(),
            total_size=int(sizes.sum()),
            population=len(texts),
            rests_on="its tokenizer",
        )

    truth = int(counts.sum())
    found = [estimate() for _ in range(200)]
    assert max(abs(one.tokens / truth - 1) for one in found) < 0.03
    # Of 200 draws, 180 hold the truth in all but two of a thousand runs if 95 % do.
    assert sum(one.low <= truth <= one.high for one in found) >= 180


TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "internationalization of electroencephalography",
    "def cosine(a, b):\n    return float(a @ b) / (norm(a) * norm(b))\n",
    "In 2026, 1234567 vectors of 1,536 dimensions cost $19.99 a month.",
    "Die Vektoren werden im nächsten Jahr neu berechnet.",
    "Векторы будут пересчитаны.",
    "向量数据库需要新的嵌入模型。",
]
#: Tokens of each, counted by tiktoken 0.14.0, by the vocabulary that bpe-openai 0.1.4 names voyage3_base, and by the
#: tokenizers that `scripts.token_sketch` names.
COUNTED = {
    "cl100k_base": [10, 8, 22, 24, 13, 12, 13],
    "voyage-3": [10, 8, 22, 34, 13, 10, 9],
    "qwen": [10, 8, 22, 34, 13, 10, 9],
    "gemma-3": [10, 6, 28, 34, 12, 9, 7],
    "mistral-v1": [12, 8, 29, 34, 15, 11, 14],
    "llama-3": [10, 8, 22, 24, 13, 8, 10],
    "xlm-roberta": [13, 7, 30, 19, 13, 8, 10],
    "bert-uncased": [10, 8, 29, 23, 20, 23, 14],
}


def test_every_known_tokenizer_has_counted() -> None:
    assert COUNTED.keys() == KNOWN.keys()


@pytest.mark.parametrize("name", COUNTED)
def test_without_a_tokenizer_tokens_are_reckoned_nearly_as_it_counts(name: str) -> None:
    """Of short texts within one token or two; of collections within what the family declares, which others test."""
    known = family(name)
    off = [known.reckon(text) - tokens for text, tokens in zip(TEXTS, COUNTED[name], strict=True)]
    assert max(map(abs, off)) <= 2
    assert abs(sum(off)) <= 0.03 * sum(COUNTED[name])


@pytest.mark.parametrize("name", KNOWN)
def test_what_a_family_declares_is_more_than_was_measured(name: str) -> None:
    assert KNOWN[name].worst < family(name).error <= 0.03
    assert f"{KNOWN[name].worst * 100:.1f} %" in family(name).basis


@pytest.mark.parametrize(
    ("channel", "model", "name"),
    [
        ("openai", "text-embedding-3-small", "cl100k_base"),
        ("mistral", "mistral-embed", "mistral-v1"),
        ("gemini-api", "gemini-embedding-001", "gemma-3"),
        ("cohere", "embed-english-v3.0", "bert-uncased"),
        ("jina", "jina-embeddings-v5-text-small", "qwen"),
        ("bedrock", "cohere.embed-multilingual-v3", "xlm-roberta"),
        ("jina", "jina-embeddings-v5-text-nano", "llama-3"),
        ("cohere", "embed-v4.0", None),
    ],
)
def test_the_catalogue_names_the_tokenizer_of_a_model(channel: str, model: str, name: str | None) -> None:
    fact = Catalogue(shipped()).tokenizer(ModelKey(channel=channel, model=model))
    assert (fact and fact.value) == name
    assert name is None or name in KNOWN


def test_an_unknown_tokenizer_is_trusted_less_than_a_known_one() -> None:
    assert family(None).error > 5 * family("cl100k_base").error
    assert family("nobody's").basis == family(None).basis != family("voyage-3").basis


def vocabulary() -> Path:
    """Return the file of cl100k_base, which is not shipped: another package has it, or UNDRIFT_CL100K names it."""
    if named := os.environ.get("UNDRIFT_CL100K"):
        return Path(named)
    package = pytest.importorskip("llama_index.core")
    # tiktoken's name for the file is the hash of its address.
    return Path(package.__file__).parent / "_static/tiktoken_cache/9b5ad71b2ce5302211f9c61530b329a4922fc6a4"


@pytest.mark.parametrize("name", ["cacm", "cosqa-dev", "med", "nfcorpus", "tldr", "wordnet-glosses", "xquad-a"])
def test_without_a_tokenizer_the_tokens_of_a_real_collection_are_within_three_percent(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    """And within what the family declares."""
    pytest.importorskip("tiktoken")
    named = tmp_path / "cl100k_base.tiktoken"
    named.symlink_to(vocabulary())
    texts, known = texts_of(shared_data / name)[:1000], family("cl100k_base")

    off = sum(map(known.reckon, texts)) / sum(tokenizer_at(named).count(texts)) - 1

    assert abs(off) < known.error < 0.03


def hash_of(text: str) -> str:
    from undrift.domain.record import content_hash

    return content_hash(text)
