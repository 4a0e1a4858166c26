"""WordLlama: a real static model of 256 dimensions whose weights come with its package."""

from __future__ import annotations

import hashlib
import importlib.util
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from undrift.domain.record import Vector, Vectors
from undrift.domain.space import Space
from undrift.errors import BadArgument, EmbedderRejected, MissingExtra
from undrift.ports.embedder import EmbedderLimits, TokenCount

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_MODEL = "l2_supercat"
_NATIVE_DIMENSIONS = 256
#: Prefixes of the vectors that the model was trained to be usable at (Matryoshka).
_DIMENSIONS = (64, 128, 256)
_WEIGHTS = Path("weights", f"{_MODEL}_{_NATIVE_DIMENSIONS}.safetensors")
_TOKENIZER = Path("tokenizers", f"{_MODEL}_tokenizer_config.json")
#: Tokens of one text that are averaged at a time; bounds the memory that a book in one document takes.
_TOKENS_AT_ONCE = 16_384
_HINT = "pip install 'undrift[embedded]'"


class WordLlamaEmbedder:
    """The mean of a text's token vectors, on the CPU, in any number of threads.

    It reads the weights and the tokenizer of the installed `wordllama` package and averages by itself. The package's
    own code gives the same vectors (a test compares them), but importing it sets up the whole program's logging, its
    default loading looks for the tokenizer in a folder that is not there and turns to the network, and its padding
    needs gigabytes for a batch with one long text.
    """

    def __init__(self, *, name: str = _MODEL, dimensions: int = _NATIVE_DIMENSIONS) -> None:
        """Find the model; it is loaded at the first text.

        Args:
            name: the model in the package; there is one.
            dimensions: 256, or the first 128 or 64 of them.

        Raises:
            BadArgument: the model has no such dimensions.
            MissingExtra: the package is not installed.
        """
        if name not in (_MODEL, "wordllama"):
            raise BadArgument(f"wordllama's package brings no model {name}; it brings {_MODEL}")
        if dimensions not in _DIMENSIONS:
            allowed = ", ".join(map(str, _DIMENSIONS))
            raise BadArgument(f"wordllama has no vectors of {dimensions} dimensions; {allowed} are there")
        self._folder = _package_folder()
        self._space = Space(
            channel="wordllama",
            model=_MODEL,
            # Not the package's version: a release with the same weights gives the same vectors.
            revision=_revision(self._folder),
            dimensions=dimensions,
            cut=None if dimensions == _NATIVE_DIMENSIONS else dimensions,
        )
        self._loading = threading.Lock()
        self._loaded: tuple[Tokenizer, NDArray[np.float32]] | None = None
        self._last = threading.local()

    @property
    def space(self) -> Space:
        """The space every vector belongs to; its revision is the hash of the weights and the tokenizer."""
        return self._space

    @property
    def limits(self) -> EmbedderLimits:
        """Free, and cheaper to make again than to keep."""
        return EmbedderLimits(batch_size=256, concurrency=1, worth_keeping=False)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Embed texts; float32, shape (n, d), unit length."""
        return self._embed(texts)

    def embed_query(self, text: str) -> Vector:
        """Embed a query, exactly as a document; float32, shape (d,)."""
        vector: Vector = self._embed([text])[0]
        return vector

    def count_tokens(self, texts: Sequence[str]) -> TokenCount:
        """Count with the model's own tokenizer."""
        size = self.limits.batch_size
        batches = (texts[start : start + size] for start in range(0, len(texts), size))
        return TokenCount(tokens=sum(len(ids) for batch in batches for ids in self._token_ids(batch)), exact=True)

    def close(self) -> None:
        """Let go of the weights; a later text loads them again."""
        with self._loading:
            self._loaded = None
        self._last = threading.local()

    def _embed(self, texts: Sequence[str]) -> Vectors:
        _, table = self._model()
        vectors = np.empty((len(texts), self._space.dimensions), dtype=np.float32)
        for row, ids in enumerate(self._token_ids(texts)):
            vectors[row] = _sum_of_rows(table, ids)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        # A text whose tokens cancel out stays zero, and is refused where every answer is checked.
        np.divide(vectors, lengths, out=vectors, where=lengths > 0)
        return vectors

    def _model(self) -> tuple[Tokenizer, NDArray[np.float32]]:
        loaded = self._loaded
        if loaded is None:
            with self._loading:
                if self._loaded is None:
                    self._loaded = _load(self._folder, self._space.dimensions)
                loaded = self._loaded
        return loaded

    def _token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Take texts apart; a batch is usually counted and then embedded, and this is most of the work of both."""
        key = tuple(texts)
        last: tuple[tuple[str, ...], list[list[int]]] | None = getattr(self._last, "texts_and_ids", None)
        if last is not None and last[0] == key:
            return last[1]
        tokenizer, _ = self._model()
        ids = [encoding.ids for encoding in tokenizer.encode_batch_fast(list(key), add_special_tokens=False)]
        self._last.texts_and_ids = key, ids
        return ids


def _package_folder() -> Path:
    found = importlib.util.find_spec("wordllama")
    if found is None or not found.submodule_search_locations:
        raise MissingExtra("wordllama is not installed", "its package brings the weights of the model", _HINT)
    return Path(next(iter(found.submodule_search_locations)))


@lru_cache
def _revision(folder: Path) -> str:
    """Hash what decides a vector; 12 ms for the 18 MB, once in a process."""
    digest = hashlib.sha256()
    for part in (_WEIGHTS, _TOKENIZER):
        try:
            with (folder / part).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise _incomplete(part, error) from error
    return f"sha256-{digest.hexdigest()[:16]}"


def _load(folder: Path, dimensions: int) -> tuple[Tokenizer, NDArray[np.float32]]:
    try:
        from safetensors import safe_open
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtra("the libraries of wordllama are not installed", str(error), _HINT) from error
    try:
        with safe_open(folder / _WEIGHTS, framework="np") as weights:
            table: NDArray[Any] = weights.get_tensor("embedding.weight")
        tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
    # Both libraries raise plain Exception for a damaged file.
    except Exception as error:
        raise _incomplete(_WEIGHTS, error) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer, np.ascontiguousarray(table[:, :dimensions], dtype=np.float32)


def _incomplete(part: Path, error: Exception) -> EmbedderRejected:
    return EmbedderRejected(
        f"the installed wordllama package has no usable {part.as_posix()}", str(error), f"{_HINT} --force-reinstall"
    )


def _sum_of_rows(table: NDArray[np.float32], ids: list[int]) -> NDArray[np.float32]:
    """Add up token vectors; their mean points the same way, and only the direction is kept."""
    total = np.zeros(table.shape[1], dtype=np.float32)
    for start in range(0, len(ids), _TOKENS_AT_ONCE):
        total += table[ids[start : start + _TOKENS_AT_ONCE]].sum(axis=0)
    return total
