"""A linear head: one matrix, trained on a user's own data, behind another embedding model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from undrift.adapters import model_folder
from undrift.domain.record import Vector, Vectors
from undrift.domain.space import Metric, Space, differences
from undrift.errors import BadArgument, SpaceMismatch
from undrift.ports.embedder import Embedder, EmbedderLimits, TokenCount

#: What says that a folder has a head, and of which base; and its weights.
MARK, WEIGHTS = "head.json", "head.npy"
_FORMAT = 1


class HeadEmbedder:
    """Multiplies every vector of a base model, a document's and a query's, by a trained matrix.

    The hash of the matrix and the space of the base are its revision: a head that was trained again is another space,
    and one is never put behind a model that it was not trained for.
    """

    def __init__(self, *, path: str, base: Embedder, name: str | None = None) -> None:
        """Read the head.

        Args:
            path: its folder, as `undrift.training.save_head` writes it.
            base: name of the model whose vectors it takes.
            name: what the model is called; as its folder by default.

        Raises:
            BadArgument: the folder has no head, or it does not fit the base.
            SpaceMismatch: it was trained behind another base.
        """
        folder = Path(path)
        trained, normalized = _declared(folder)
        if trained != base.space:
            raise SpaceMismatch(
                f"the head in {folder.name} was trained behind space {trained.id}, and the base gives {base.space.id}",
                "\n".join(differences(base.space, trained)),
                "name the model that it was trained behind: base = NAME",
            )
        self._base = base
        self._matrix = _weights(folder)
        rows, columns = self._matrix.shape
        if columns != base.space.dimensions:
            raise BadArgument(
                f"the head in {folder.name} takes vectors of {columns} dimensions, and its base gives "
                f"{base.space.dimensions}",
                str(folder / WEIGHTS),
            )
        self._space = replace(
            base.space,
            channel="head",
            model=name or folder.name,
            revision=_revision(self._matrix, base.space, normalized=normalized),
            dimensions=rows,
            metric=Metric.COSINE if normalized else base.space.metric,
            normalized=normalized,
            cut=None,
        )

    @property
    def space(self) -> Space:
        """The space every vector belongs to."""
        return self._space

    @property
    def limits(self) -> EmbedderLimits:
        """Those of the base: its calls are all that takes time or money."""
        return self._base.limits

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Embed texts with the base, and turn the answers; raises as the base does."""
        return self._turned(self._base.embed_documents(texts))

    def embed_query(self, text: str) -> Vector:
        """Embed a query with the base, and turn the answer; raises as the base does."""
        vector: Vector = self._turned(np.asarray(self._base.embed_query(text)).reshape(1, -1))[0]
        return vector

    def count_tokens(self, texts: Sequence[str]) -> TokenCount:
        """Count as the base does."""
        return self._base.count_tokens(texts)

    def close(self) -> None:
        """Let go of the base."""
        self._base.close()

    def _turned(self, vectors: Vectors) -> Vectors:
        if vectors.ndim != 2 or vectors.shape[1] != self._matrix.shape[1]:
            # The caller checks every answer, and says what is wrong with it.
            return vectors
        turned = np.asarray(vectors, dtype=np.float32) @ self._matrix.T
        if self._space.normalized:
            lengths = np.linalg.norm(turned, axis=1, keepdims=True)
            np.divide(turned, lengths, out=turned, where=lengths > 0)
        return turned


def save_head(folder: Path, matrix: NDArray[np.floating], base: Space, *, normalized: bool = True) -> None:
    """Write a head into a folder of its own; one that is there is never changed.

    Args:
        folder: where to; made when it is not there.
        matrix: shape (dimensions of the new vectors, dimensions of the base's).
        base: the space of the model that it was trained behind.
        normalized: whether its vectors are brought to length 1.

    Raises:
        BadArgument: the folder has a head already, or the matrix is none for this base.
    """
    weights = np.ascontiguousarray(matrix, dtype=np.float32)
    if weights.ndim != 2 or weights.shape[1] != base.dimensions or not len(weights):
        raise BadArgument(
            f"a matrix of shape {weights.shape} is no head for space {base.id}",
            f"it needs {base.dimensions} columns, and a row for each dimension of the new vectors",
        )
    if not np.isfinite(weights).all():
        raise BadArgument(f"the matrix for {folder} has values that are no finite numbers", hint="train again")
    if (folder / MARK).exists() or (folder / WEIGHTS).exists():
        raise BadArgument(
            f"{folder} has a head already",
            "a checkpoint that was registered must stay what it was",
            "save the retrained one into a folder of its own",
        )
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / WEIGHTS, weights, allow_pickle=False)
    # Last: a folder without it has no head yet.
    declared = {"format": _FORMAT, "normalized": normalized, "base": base.as_dict()}
    (folder / MARK).write_text(json.dumps(declared, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _declared(folder: Path) -> tuple[Space, bool]:
    values = model_folder.read(folder / MARK)
    if not values:
        raise BadArgument(
            f"{folder} is not the folder of a head", f"there is no {folder / MARK}", "undrift.training.save_head"
        )
    try:
        if values["format"] != _FORMAT:
            raise ValueError(f"format {values['format']} is not known to this version")
        return Space.from_dict(values["base"]), bool(values["normalized"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadArgument(f"{folder / MARK} does not say which model the head belongs to", repr(error)) from error


def _weights(folder: Path) -> NDArray[np.float32]:
    try:
        matrix: NDArray[np.float32] = np.load(folder / WEIGHTS, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadArgument(f"the weights of the head in {folder.name} cannot be read", str(error)) from error
    if matrix.ndim != 2 or matrix.dtype != np.float32 or not np.isfinite(matrix).all():
        raise BadArgument(
            f"the weights of the head in {folder.name} are no matrix of float32 numbers",
            f"{matrix.dtype} of shape {matrix.shape}",
        )
    return matrix


def _revision(matrix: NDArray[np.float32], base: Space, *, normalized: bool) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(matrix, dtype="<f4").tobytes())
    digest.update(f"\0{matrix.shape}\0{normalized}\0{base.fingerprint}".encode())
    return f"sha256-{digest.hexdigest()[:16]}"
