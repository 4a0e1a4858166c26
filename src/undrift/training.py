"""For scripts that train: keep a head, record where a checkpoint comes from, refuse to serve one that is not proven."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undrift.adapters.checkpoints import fingerprint as _fingerprint
from undrift.adapters.embedders.head import save_head as _save_head
from undrift.control import ControlPlane
from undrift.control.ancestry import Training
from undrift.domain.record import Vectors
from undrift.errors import BadArgument

__all__ = ["Training", "embed", "fingerprint", "register", "require_servable", "save_head"]


def embed(plane: ControlPlane, model: str, documents: Sequence[str] = (), queries: Sequence[str] = ()) -> Vectors:
    """Return what a configured model gives for texts to train on: documents first, then queries.

    Args:
        plane: the control plane.
        model: the model, proven before it is asked.
        documents: n texts, as they are stored.
        queries: q texts, as they are searched for.

    Returns:
        float32, shape (n + q, d).

    Raises:
        BadArgument: a text cannot be embedded; the message names the first.
        ModelChanged: the model does not give the vectors any more that its space was recorded with.
    """
    door = plane.door_of(plane.recorded(model).space.id)
    made = door.documents(documents)
    if made.failures:
        row, failure = min(made.failures.items())
        raise BadArgument(
            f"training text {row} cannot be embedded with {model}: {failure.reason.value}",
            failure.detail,
            "leave it out of the training data",
        )
    asked = np.array([door.query(text) for text in queries], dtype=np.float32).reshape(-1, door.space.dimensions)
    block: Vectors = np.concatenate([made.vectors, asked])
    return block


def save_head(plane: ControlPlane, folder: str | Path, matrix: NDArray[np.floating[Any]], *, behind: str) -> None:
    """Write a linear head into a folder of its own, from where it can be registered.

    Args:
        plane: the control plane.
        folder: where to, from beside the configuration; one that has a head is never changed.
        matrix: shape (dimensions of the new vectors, dimensions of the base's).
        behind: the configured model whose vectors it was trained on.

    Raises:
        BadArgument: the folder has a head, or the matrix is none for this model.
    """
    _save_head(plane.config.resolve(str(folder)), matrix, plane.model_door(behind).space)


def fingerprint(*data: str | Path) -> str:
    """Return the fingerprint of training data: of files and folders, by their names and contents.

    Raises:
        BadArgument: one of them cannot be read.
    """
    return _fingerprint(data)


def register(
    plane: ControlPlane, name: str, origin: str | Path, training: Training, *, options: dict[str, Any] | None = None
) -> str:
    """Add a fine-tuned model to the configuration and record its lineage; return the hash of its checkpoint.

    Args:
        plane: the control plane.
        name: what it is called; it means this checkpoint for good.
        origin: its folder, `mlflow:models:/NAME/VERSION`, or `hf:ORG/NAME@COMMIT`.
        training: what is known of the training.
        options: other keys of its provider.

    Raises:
        BadConfig: there is a model of that name.
        BadArgument: the origin has no model that can be run here.
    """
    return str(plane.register_model(name, str(origin), training, options)["checkpoint"]["hash"])


def require_servable(plane: ControlPlane, name: str, *, alias: str | None = None) -> None:
    """Pass when a checkpoint may be served: its lineage is recorded, its files are those, and its space is proven.

    Args:
        plane: the control plane.
        name: the model.
        alias: the alias that it is to answer; the vectors that serve there have to be of its space as well.

    Raises:
        RefusedError: it may not; the hint is the command that comes next.
    """
    plane.require_servable(name, alias=alias)
