"""Models of MLflow's registry: one version of one model, copied beside the configuration."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from undrift.adapters.checkpoints import Origin, from_folder
from undrift.errors import BadArgument, MissingExtra

_HINT = "pip install 'undrift[mlflow]'"
_REFERENCE = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<version>[0-9]+)|@(?P<alias>[^/@]+))")
#: The folder beside the configuration that versions are copied into.
_COPIES = "undrift-models"
#: What MLflow calls the commit of the code that a run was made with.
_COMMIT = "mlflow.source.git.commit"


def from_registry(reference: str, resolve: Callable[[str], Path]) -> Origin:
    """Find a version, copy its files, and read what its run says of the training.

    The registry is the one that MLflow is set up for (`MLFLOW_TRACKING_URI`). An alias is followed once: what is
    recorded is the version that it means now.

    Args:
        reference: `models:/NAME/VERSION` or `models:/NAME@ALIAS`.
        resolve: makes a path beside the configuration absolute.

    Raises:
        BadArgument: the reference is none, or there is no such version.
        MissingExtra: MLflow is not installed.
    """
    asked = _REFERENCE.fullmatch(reference)
    if asked is None:
        raise BadArgument(
            f"mlflow:{reference} names no version of a model",
            "`latest` and stages may mean another checkpoint tomorrow",
            "--from mlflow:models:/NAME/VERSION, or mlflow:models:/NAME@ALIAS",
        )
    try:
        from mlflow import MlflowClient
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise MissingExtra("MLflow is not installed", str(error), _HINT) from error
    try:
        client = MlflowClient()
        name = asked["name"]
        version = asked["version"] or client.get_model_version_by_alias(name, asked["alias"]).version
        found = client.get_model_version(name, version)
        run = client.get_run(found.run_id).data if found.run_id else None
        folder = resolve(f"{_COPIES}/{name}-{version}")
        folder.mkdir(parents=True, exist_ok=True)
        download_artifacts(artifact_uri=f"models:/{name}/{version}", dst_path=str(folder))
    except (MlflowException, OSError) as error:
        raise BadArgument(
            f"mlflow:{reference} cannot be had from the registry", str(error), "look at MLFLOW_TRACKING_URI"
        ) from error
    text = f"mlflow:models:/{name}/{version}"
    origin = from_folder(_model_in(folder), text)
    return replace(origin, recipe=_recipe(run), code=run.tags.get(_COMMIT, "") if run is not None else "")


def _model_in(folder: Path) -> Path:
    """Return the folder that has the model: MLflow's flavours put it into one of their own."""
    for candidate in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        try:
            from_folder(candidate, str(candidate))
        except BadArgument:
            continue
        return candidate
    return folder


def _recipe(run: Any) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(run.params.items())) if run is not None else ""
