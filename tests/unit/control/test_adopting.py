"""A collection that somebody else made is adopted once its model is proven, and otherwise nothing is changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.control.foreign import TEXTS, Model, Scene
from undrift import Document
from undrift.adapters.stores.memory import MemoryStore
from undrift.domain.adoption import NOTE
from undrift.domain.migration import Phase
from undrift.domain.record import DocumentId, content_hash, is_tagged
from undrift.domain.route import AliasName, VectorField
from undrift.domain.space import Metric
from undrift.errors import (
    AlreadyExists,
    BadArgument,
    BudgetExhausted,
    BudgetRequired,
    CollectionMissing,
    GateFailed,
    IllegalTransition,
    UndriftError,
)
from undrift.ports.store import VectorStore
from undrift.testing.faults import Faults, Killed


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.close()


def refusal(scene: Scene, **options: Any) -> GateFailed:
    """Return why an adoption is refused, after looking that it has changed nothing."""
    before, text = scene.content(), scene.path.read_text()
    plane = scene.plane()
    with pytest.raises(GateFailed) as caught:
        scene.adopt(plane, **options)
    assert scene.content() == before
    assert not any(map(is_tagged, scene.tags().values()))
    assert plane.ledger.alias(AliasName("kb")) is None
    assert scene.path.read_text() == text
    assert "kb" not in plane.config.settings.aliases
    return caught.value


@pytest.mark.parametrize("tags", ["payload", "ledger"])
def test_a_proven_collection_serves_and_nothing_but_tags_is_written(scene: Scene, tags: str) -> None:
    scene.fill()
    before = scene.content()

    found = scene.adopt(tags=tags)

    assert found["verdict"] == "proven"
    assert (found["proof"]["compared"], found["proof"]["matched"], found["tagged"]) == (120, 120, 120)
    assert found["proof"]["interval"] == [0.0, 0.0]
    assert scene.content() == before
    assert all(map(is_tagged, scene.tags().values())) is (tags == "payload")
    plane = scene.plane()
    kb = plane.alias("kb")
    assert kb.search(TEXTS[7], k=1)[0].id == "d007"
    place = kb.route().serving
    entries = plane.store_of(place).scan(place, limit=200)
    assert {entry.tag.content for entry in entries if entry.tag} == {content_hash(text) for text in TEXTS}
    assert {entry.tag.space for entry in entries if entry.tag} == {scene.models["ada"].space.id}


@pytest.mark.parametrize("tags", ["payload", "ledger"])
def test_an_adopted_collection_goes_through_a_migration(scene: Scene, tags: str) -> None:
    scene.fill()
    scene.adopt(tags=tags)
    plane = scene.plane()
    kb = plane.alias("kb")

    plane.register("kb", "new")
    plane.work("kb", lambda migration: migration is not None and migration.phase is Phase.BACKFILL)
    kb.upsert([Document(id="d003", text="another text now")])
    plane.work("kb", lambda migration: migration is not None and migration.phase is Phase.READY)
    assert plane.status("kb")["phase"] == "ready"
    plane.cutover("kb")

    assert kb.search("another text now", k=1)[0].id == "d003"
    place = kb.route().serving
    assert ("tags=ledger" in place.collection) is (tags == "ledger")
    rows = scene.store.collections[place.collection.partition("?")[0]].rows
    assert len(rows) == 120
    assert any(is_tagged(row.tag) for row in rows.values()) is (tags == "payload")
    plane.rollback("kb")
    assert kb.search("another text now", k=1)[0].id == "d003"


def test_another_model_is_refused_and_the_right_one_named(scene: Scene) -> None:
    scene.models["third"] = Model("third")
    scene.fill(scene.models["third"].of)

    error = refusal(scene)

    assert "120 of 120 vectors are not what model ada gives" in error.detail
    assert "they are what model third gives" in error.detail
    assert error.hint == "adopt with --model third"


def test_a_cut_is_recognised_and_the_dimensions_to_set_are_named(scene: Scene) -> None:
    short = Model("ada", dimensions=16)
    scene.fill(short.of, dimensions=16)

    error = refusal(scene)

    assert "its vectors have 16 dimensions, and those of model ada have 24" in error.detail
    assert "the first 16 dimensions of what model ada gives" in error.detail
    assert error.hint == "set dimensions = 16 for model ada"


def test_vectors_that_a_configured_cut_shortened_are_recognised(scene: Scene) -> None:
    scene.models["ada"] = Model("ada", dimensions=16)
    long = Model("ada")
    scene.fill(long.of)

    assert "configured with the first 16 of them" in refusal(scene).detail


def test_a_prefix_is_recognised(scene: Scene) -> None:
    prefixed = Model("ada", document_prefix="passage: ")
    scene.fill(prefixed.of)

    error = refusal(scene)

    assert "made with the prefix 'passage: ' in front of each text; model ada has none" in error.detail
    assert "document_prefix = 'passage: '" in error.hint


def test_a_missing_prefix_is_recognised(scene: Scene) -> None:
    scene.fill()
    scene.models["ada"] = Model("ada", document_prefix="passage: ")

    assert "made with no prefix in front of each text; model ada has 'passage: '" in refusal(scene).detail


def test_the_query_side_is_recognised(scene: Scene) -> None:
    scene.models["ada"] = Model("ada", query_task="asked ")
    scene.fill(scene.models["ada"].embed_query)

    assert "made as queries are" in refusal(scene).detail


@pytest.mark.parametrize(
    ("join", "said"), [("title\n", "metadata title, a line end"), ("all\n\n", "as LlamaIndex does")]
)
def test_a_text_that_was_joined_with_metadata_is_recognised(scene: Scene, join: str, said: str) -> None:
    titles = {text: f"title {number}" for number, text in enumerate(TEXTS)}

    def made(text: str) -> Any:
        front = f"{titles[text]}\n" if join.startswith("title") else f"title: {titles[text]}\npage: 4\n\n"
        return scene.models["ada"].of(front + text)

    scene.fill(made, metadata=lambda number: {"title": f"title {number}", "page": 4})

    assert said in refusal(scene).detail


def test_what_nothing_explains_is_refused_and_only_a_reason_overrules_it(scene: Scene) -> None:
    stranger = Model("stranger")
    scene.fill(stranger.of)

    assert refusal(scene).hint == "if you know better: --accept-unproven REASON"
    assert refusal(scene, accept=["foreign", "metric"]).detail
    found = scene.adopt(accept_unproven="they come from the fine-tune of last May")

    assert found["verdict"] == "unproven"
    told = [line.detail for line in scene.plane().ledger.history(AliasName("kb")) if line.action == "adopted"]
    assert "because they come from the fine-tune of last May" in told[0]


def test_a_few_foreign_vectors_are_refused_until_accepted_and_get_no_tag(scene: Scene) -> None:
    scene.fill()
    stranger = Model("stranger")
    scene.put({f"d{number:03}": TEXTS[number] for number in (5, 50)}, stranger.of)

    error = refusal(scene)
    assert "2 of 120 vectors are not what model ada gives" in error.detail
    assert error.hint == "if you accept it: --accept foreign"
    found = scene.adopt(accept=["foreign"])

    assert found["foreign"] == {"count": 2, "ids": ["d005", "d050"]}
    assert found["verdict"] == "mixed"
    assert sorted(id for id, tag in scene.tags().items() if not is_tagged(tag)) == ["d005", "d050"]


def test_an_empty_collection_is_refused(scene: Scene) -> None:
    scene.fill(texts=[])

    with pytest.raises(BadArgument, match="is empty"):
        scene.adopt()


def test_a_collection_of_one_record_is_adopted(scene: Scene) -> None:
    scene.fill(texts=TEXTS[:1])

    assert scene.adopt()["verdict"] == "proven"


def test_a_collection_that_is_not_there_is_named(scene: Scene) -> None:
    with pytest.raises(CollectionMissing, match="no collection docs"):
        scene.adopt()


def test_texts_that_are_blank_or_missing_prove_nothing(scene: Scene) -> None:
    scene.fill(lambda _: scene.models["ada"].of("x"), texts=[" "] * 20)

    error = refusal(scene)

    assert "of 20 records only 0 have a text that can be embedded (20 blank text)" in error.detail
    assert "--text" in error.hint


def test_some_blank_texts_are_no_obstacle_and_get_no_tag(scene: Scene) -> None:
    scene.fill()
    scene.put({"blank": "  "}, lambda _: scene.models["ada"].of("x"))

    found = scene.adopt()

    assert found["proof"]["unreadable"] == {"blank_text": 1}
    assert found["untagged"] == {"foreign": 0, "without_text": 1, "changed": 0}


def test_odd_ids_are_tagged_like_others(scene: Scene) -> None:
    odd = [" ", "'; DROP TABLE tag; --", "ä/\\", "🗝" * 100, "0", "-1"]
    scene.fill(texts=TEXTS[:10])
    scene.put(dict(zip(odd, TEXTS[20:], strict=False)), scene.models["ada"].of)

    assert scene.adopt(tags="ledger")["tagged"] == 16
    place = scene.plane().alias("kb").route().serving
    found = scene.plane().store_of(place).entries(place, [DocumentId(id) for id in odd])
    assert all(is_tagged(found[DocumentId(id)].tag) for id in odd)


def test_another_metric_is_a_doubt_that_can_be_accepted(scene: Scene) -> None:
    scene.fill(metric=Metric.L2)

    error = refusal(scene)
    assert "compares by l2, and model ada is declared for cosine" in error.detail
    assert error.hint == "if that is as it should be: --accept metric"
    assert scene.adopt(accept=["metric"])["verdict"] == "proven"


def test_lengths_that_are_not_the_models_are_a_doubt_where_the_metric_looks_at_them(scene: Scene) -> None:
    scene.models["ada"] = Model("ada", metric=Metric.DOT)
    scene.place = replace(scene.place, space=scene.models["ada"].space.id)
    scene.fill(lambda text: 7 * scene.models["ada"].of(text), metric=Metric.DOT)

    assert "7 times as long as the model's" in refusal(scene).detail
    assert scene.adopt(accept=["length"])["verdict"] == "proven"


def test_lengths_are_no_matter_where_only_the_direction_counts(scene: Scene) -> None:
    scene.fill(lambda text: 7 * scene.models["ada"].of(text))

    assert scene.adopt()["verdict"] == "proven"


def test_a_paid_model_wants_a_budget_and_keeps_to_it(scene: Scene) -> None:
    scene.models["ada"] = Model("ada", paid=True)
    scene.fill()

    with pytest.raises(BudgetRequired):
        scene.adopt()
    with pytest.raises(BudgetExhausted):
        scene.adopt(budget_tokens=200)
    assert scene.plane().ledger.alias(AliasName("kb")) is None
    found = scene.adopt(budget_tokens=5000)

    assert 0 < found["proof"]["tokens"] <= 5000


def test_an_unknown_word_to_accept_is_told(scene: Scene) -> None:
    scene.fill()

    with pytest.raises(BadArgument, match="nothing is called 'everything'"):
        scene.adopt(accept=["everything"])


def test_an_alias_is_adopted_once_and_a_collection_has_one_alias(scene: Scene) -> None:
    scene.fill()
    scene.adopt()

    with pytest.raises(AlreadyExists, match="there is an alias kb already"):
        scene.adopt()
    with pytest.raises(UndriftError, match="belongs to alias kb"):
        scene.plane().adopt_collection("other", store="main", collection="docs", model="ada")
    with pytest.raises(UndriftError, match="belongs to alias kb"):
        scene.plane().adopt_collection("other", store="main", collection="docs?tags=ledger", model="ada")


@pytest.mark.parametrize("tags", ["payload", "ledger"])
def test_wherever_an_adoption_dies_it_has_left_nothing_or_goes_on(scene: Scene, tags: str) -> None:
    scene.fill(texts=TEXTS[:12])
    before = scene.content()
    number = done = 0
    while not done:
        faults = Faults()
        faults.kill_at(number)
        try:
            scene.adopt(scene.plane(faults), tags=tags)
            done = True
        except Killed:
            pass
        assert scene.content() == before
        after = scene.plane()
        if after.ledger.alias(AliasName("kb")) is None:
            assert "kb" not in after.config.settings.aliases
            assert not any(map(is_tagged, scene.tags().values()))
        elif not done:
            if after.ledger.tuning(AliasName("kb"))[NOTE]:
                with pytest.raises(IllegalTransition, match="still being tagged"):
                    after.register("kb", "new")
                assert scene.adopt(tags=tags)["verdict"] == "proven"
            place = after.alias("kb").route().serving
            assert all(is_tagged(entry.tag) for entry in after.store_of(place).scan(place, limit=50))
            _forget(scene)
            scene.fill(texts=TEXTS[:12])
        number += 1

    assert number > 10


def _forget(scene: Scene) -> None:
    """Begin anew."""
    scene.close()
    for file in scene.folder.glob("ledger.db*"):
        file.unlink()
    scene.store.collections.clear()
    text = scene.path.read_text()
    scene.path.write_text(text.partition("\n[aliases")[0].rstrip() + "\n", encoding="utf-8")


def test_a_record_that_is_rewritten_while_it_is_tagged_has_not_the_old_texts_tag(scene: Scene) -> None:
    scene.fill()
    rewritten = {"d004": "rewritten meanwhile"}

    class Racing(MemoryStore):
        def __init__(self) -> None:
            super().__init__()
            self.collections = scene.store.collections

        def tag(self, field: VectorField, entries: Any) -> Any:
            scene.put(rewritten, scene.models["ada"].of)
            return super().tag(field, entries)

    scene.wrapped = lambda _: Racing()

    found = scene.adopt()

    assert (found["tagged"], found["untagged"]["changed"]) == (119, 1)
    assert not is_tagged(scene.tags()["d004"])


def test_a_store_that_cannot_tag_says_how_to_go_on(scene: Scene) -> None:
    scene.fill()

    class Plain:
        def __init__(self, inner: VectorStore) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            if name == "tag":
                raise AttributeError(name)
            return getattr(self.inner, name)

    scene.wrapped = Plain  # type: ignore[return-value,assignment]

    with pytest.raises(BadArgument, match="cannot put a tag beside a vector") as caught:
        scene.adopt()
    assert "--tags ledger" in caught.value.hint
    assert scene.adopt(tags="ledger")["verdict"] == "proven"


def test_a_hash_is_of_the_canonical_text(scene: Scene) -> None:
    scene.fill(texts=[f"  {text}\r\n" for text in TEXTS[:20]])

    scene.adopt()

    assert scene.tags()["d003"].content == content_hash(TEXTS[3])
    assert json.loads(json.dumps(scene.tags()["d003"].content)) == hashlib.sha256(TEXTS[3].encode()).hexdigest()[:32]
