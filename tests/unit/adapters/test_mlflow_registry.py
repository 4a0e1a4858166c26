"""A version of a model in a real MLflow registry, in a file of this machine."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.adapters.embedders.head import save_head
from undrift.config import load
from undrift.control import ControlPlane
from undrift.control.ancestry import Training
from undrift.errors import BadArgument

mlflow = pytest.importorskip("mlflow")
pytest.importorskip("sqlalchemy")

# Making its database takes it many seconds, and what it imports warns of itself.
pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A registry with one model of one version, logged by a run."""
    place = tmp_path_factory.mktemp("mlflow")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.set_tracking_uri(f"sqlite:///{place}/mlflow.db")
        mlflow.set_registry_uri(f"sqlite:///{place}/mlflow.db")
        client = mlflow.MlflowClient()
        experiment = client.create_experiment("heads", artifact_location=(place / "artifacts").as_uri())
        run = client.create_run(experiment, tags={"mlflow.source.git.commit": "abc1234"})
        client.log_param(run.info.run_id, "steps", 200)
        client.log_param(run.info.run_id, "rate", 0.1)
        save_head(place / "made" / "head", np.eye(64), HashingEmbedder(dimensions=64).space)
        client.log_artifacts(run.info.run_id, str(place / "made"), "model")
        client.create_registered_model("tuned")
        source = f"{run.info.artifact_uri}/model"
        client.create_model_version("tuned", source, run.info.run_id)
        client.set_registered_model_alias("tuned", "champion", "1")
        yield client
        mlflow.set_tracking_uri("")
        mlflow.set_registry_uri("")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "undrift.toml").write_text('[models.old]\nprovider = "hashing"\ndimensions = 64\n')
    return tmp_path


@pytest.mark.parametrize("reference", ["models:/tuned/1", "models:/tuned@champion"])
def test_a_version_is_registered_with_what_its_run_says(registry: Any, folder: Path, reference: str) -> None:
    with ControlPlane(load(folder / "undrift.toml")) as plane:
        recorded = plane.register_model("tuned", f"mlflow:{reference}", Training(reason="it won"))["checkpoint"]

        assert recorded["origin"] == "mlflow:models:/tuned/1"
        assert recorded["recipe"] == "rate=0.1, steps=200"
        assert recorded["code"] == "abc1234"
        assert recorded["base"].startswith("words-and-trigrams@")
        assert plane.require_servable("tuned").space.revision == recorded["hash"]
        assert 'path = "undrift-models/tuned-1/head"' in (folder / "undrift.toml").read_text()


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("models:/tuned/latest", "names no version"),
        ("runs:/abc/model", "names no version"),
        ("models:/tuned/2", "cannot be had from the registry"),
        ("models:/nobody/1", "cannot be had from the registry"),
        ("models:/tuned@nobody", "cannot be had from the registry"),
    ],
)
def test_what_is_no_version_is_refused(registry: Any, folder: Path, reference: str, message: str) -> None:
    with ControlPlane(load(folder / "undrift.toml")) as plane, pytest.raises(BadArgument, match=message):
        plane.register_model("tuned", f"mlflow:{reference}", Training())
    assert "tuned" not in (folder / "undrift.toml").read_text()
