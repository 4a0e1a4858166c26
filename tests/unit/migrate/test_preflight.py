"""What a plan states is counted, not guessed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.unit.migrate.scene import DOCUMENTS, Scene
from undrift import Document
from undrift.adapters.tokenizers.families import family
from undrift.domain.record import stamp
from undrift.domain.space import Metric
from undrift.errors import UsageError
from undrift.migrate import survey as surveying
from undrift.migrate.preflight import require_fit
from undrift.migrate.survey import Counter, Facts, survey
from undrift.ports.store import StoreCapabilities


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.rig.close()


def facts(scene: Scene) -> Facts:
    return survey(
        scene.rig.store(),
        scene.rig.route().serving,
        Counter(door=scene.operator.plane.model_door("new"), family=family(None)),
    )


def test_documents_texts_and_tokens_are_counted(scene: Scene) -> None:
    """A text that stands in several documents is embedded once, whatever white space is around it."""
    scene.write(Document(id="same", text=f"  {DOCUMENTS[0].text}\n"))

    found = facts(scene)

    assert (found.documents, found.unique_texts) == (13, 12)
    assert (found.estimate.tokens, found.estimate.low, found.estimate.high) == (12 * 4, 12 * 4, 12 * 4)
    assert (found.estimate.exact, found.duplicates, found.cached) == (True, 1, 0)
    assert found.warnings == ()


def test_the_storage_grows_with_dimensions_and_texts(scene: Scene) -> None:
    before = facts(scene).storage_bytes
    scene.write(Document(id="long", text="x" * 1000))

    assert facts(scene).storage_bytes - before >= 1000 + 24 * 4


def test_a_collection_is_surveyed_page_by_page(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = facts(scene)
    monkeypatch.setattr(surveying, "_PAGE", 5)

    assert facts(scene) == whole


def test_documents_without_text_are_announced(scene: Scene) -> None:
    place, model = scene.rig.route().serving, scene.rig.models["old"]
    vectors = scene.rig.vector(place.space, " ")[None, :]
    blank = Document(id="blank", text=" ")
    scene.rig.memory.upsert(place, stamp([blank], vectors, space=model.space, sequences={}))

    found = facts(scene)

    assert found.warnings == ("1 document without a text, to be set aside",)
    assert found.unique_texts == 12


def test_an_empty_collection_is_announced(scene: Scene) -> None:
    scene.app.alias.delete([document.id for document in DOCUMENTS])

    assert facts(scene).warnings == ("the collection is empty",)


@dataclass
class Limited:
    """A store that can little."""

    capabilities: StoreCapabilities


@pytest.mark.parametrize(
    ("dimensions", "metric", "complaint"),
    [
        (24, Metric.DOT, "cannot compare vectors by dot"),
        (25, Metric.COSINE, "at most 24 dimensions"),
        (24, Metric.COSINE, ""),
    ],
)
def test_what_a_store_cannot_hold_is_said_before_anything_begins(
    scene: Scene, dimensions: int, metric: Metric, complaint: str
) -> None:
    limits = replace(scene.rig.memory.capabilities, max_dimensions=24, metrics=frozenset({Metric.COSINE, Metric.L2}))
    space = replace(scene.rig.models["new"].space, dimensions=dimensions, metric=metric)
    if not complaint:
        require_fit(Limited(limits), space, model="new")  # type: ignore[arg-type]
        return
    with pytest.raises(UsageError, match=complaint):
        require_fit(Limited(limits), space, model="new")  # type: ignore[arg-type]
