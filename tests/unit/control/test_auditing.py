"""An audit says which vectors of a collection are not its model's, and what it could not see."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.unit.control.foreign import TEXTS, Model, Scene
from undrift import Document
from undrift.domain.record import DocumentId, tag_from_stored
from undrift.errors import BudgetExhausted, BudgetRequired, UnknownAlias


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    scene.fill()
    yield scene
    scene.close()


def test_a_pure_collection_is_clean_and_the_audit_says_what_it_cannot_see(scene: Scene) -> None:
    scene.adopt()

    found = scene.plane().audit("kb", sample=60)

    assert (found["records"], found["tagged"], found["untagged"]) == (120, 120, 0)
    assert found["by_space"] == {scene.models["ada"].space.id: 120}
    assert (found["foreign"]["count"], found["foreign"]["ids"], found["verdict"]) == (0, [], "clean")
    assert (found["sample"]["compared"], found["sample"]["differing"]) == (60, 0)
    low, high = found["sample"]["interval"]
    assert (low, round(high, 4)) == (0.0, round(1 - 0.05 ** (1 / 60), 4))
    assert any(f"a share below {high:.2%}" in sentence for sentence in found["not_seen"])


def test_two_audits_look_at_different_texts(scene: Scene) -> None:
    scene.adopt()
    plane, asked = scene.plane(), []
    ada = scene.models["ada"]
    inner = ada.embed_documents
    ada.embed_documents = lambda texts: asked.append(set(texts)) or inner(texts)  # type: ignore[method-assign,func-returns-value]

    for _ in range(2):
        asked.append(set())
        plane.audit("kb", sample=20)
        scene.clock.advance(60)

    halves = [set().union(*asked[: len(asked) // 2]), set().union(*asked[len(asked) // 2 :])]
    assert halves[0] & set(TEXTS) != halves[1] & set(TEXTS)


def test_vectors_of_another_model_are_found_with_their_ids(scene: Scene) -> None:
    scene.adopt()
    stranger = Model("stranger")
    scene.put({f"d{number:03}": TEXTS[number] for number in (5, 50)}, stranger.of)

    found = scene.plane().audit("kb", sample=120)

    assert found["verdict"] == "foreign"
    assert sorted(found["foreign"]["ids"]) == ["d005", "d050"]
    assert found["sample"]["interval"] == [2 / 120, 2 / 120]
    assert found["next_steps"]


def test_a_same_family_mix_is_found_by_the_texts_and_explained(scene: Scene) -> None:
    scene.adopt()
    prefixed = Model("ada", document_prefix="passage: ")
    scene.put({f"d{number:03}": TEXTS[number] for number in range(40)}, prefixed.of)

    found = scene.plane().audit("kb", sample=60)

    low, high = found["sample"]["interval"]
    assert low < 1 / 3 < high
    assert found["sample"]["differing"] > 0
    assert "'passage: '" in found["sample"]["explanations"][0]["detail"]
    assert found["verdict"] == "foreign"


def test_what_a_stranger_wrote_is_untagged_and_an_edited_text_has_a_stale_tag(scene: Scene) -> None:
    scene.adopt()
    scene.put({"new": "written by somebody else"}, scene.models["ada"].of)
    rows = scene.store.collections["docs"].rows
    rows[DocumentId("d001")] = replace(rows[DocumentId("d001")], text="edited in place")

    found = scene.plane().audit("kb", sample=130)

    assert (found["records"], found["untagged"], found["stale_tags"]) == (121, 1, 1)
    assert found["foreign"]["ids"] == ["d001"]


def test_a_tag_of_another_space_is_foreign_by_its_own_word(scene: Scene) -> None:
    scene.adopt()
    rows = scene.store.collections["docs"].rows
    row = rows[DocumentId("d001")]
    rows[DocumentId("d001")] = replace(row, tag=tag_from_stored("other-24-0", row.tag.content, 0))

    found = scene.plane().audit("kb", sample=0)

    assert (found["foreign"]["by_tag"], found["foreign"]["ids"]) == (1, ["d001"])
    assert found["by_space"]["other-24-0"] == 1


def test_without_a_sample_nothing_is_embedded_and_nothing_is_called_clean(scene: Scene) -> None:
    scene.adopt()
    plane = scene.plane()
    plane.audit("kb", sample=1)
    asked = scene.models["ada"].asked

    found = plane.audit("kb", sample=0)

    assert scene.models["ada"].asked == asked
    assert (found["sample"], found["verdict"]) == (None, "unknown")
    assert any("--sample 0" in sentence for sentence in found["not_seen"])


def test_texts_that_cannot_be_embedded_are_told(scene: Scene) -> None:
    scene.adopt()
    scene.put({"blank": " "}, lambda _: scene.models["ada"].of("x"))

    found = scene.plane().audit("kb", sample=121)

    assert found["sample"]["unreadable"] == {"blank_text": 1}
    assert any("1 record of the sample had no text" in sentence for sentence in found["not_seen"])


def test_a_paid_model_wants_a_budget_and_keeps_to_it(scene: Scene) -> None:
    scene.models["ada"].limits = replace(scene.models["ada"].limits, paid=True)
    scene.adopt(unlimited=True)

    with pytest.raises(BudgetRequired):
        scene.plane().audit("kb")
    with pytest.raises(BudgetExhausted):
        scene.plane().audit("kb", budget_tokens=50)
    assert scene.plane().audit("kb", budget_tokens=5000)["sample"]["tokens"] <= 5000


def test_an_audit_changes_nothing(scene: Scene) -> None:
    scene.adopt()
    before, tags = scene.content(), scene.tags()

    scene.plane().audit("kb")

    assert (scene.content(), scene.tags()) == (before, tags)


def test_tags_in_the_ledger_are_counted_too(scene: Scene) -> None:
    scene.adopt(tags="ledger")
    plane = scene.plane()
    plane.alias("kb").upsert([Document(id="d000", text="written anew")])

    found = plane.audit("kb", sample=20)

    assert (found["tagged"], found["untagged"], found["stale_tags"], found["verdict"]) == (120, 0, 0, "clean")


def test_an_alias_that_nobody_made_is_told(scene: Scene) -> None:
    with pytest.raises(UnknownAlias):
        scene.plane().audit("other")


def test_a_collection_too_small_to_tell_from_vectors_says_so(scene: Scene) -> None:
    scene.store.collections.clear()
    scene.fill(texts=TEXTS[:9])
    scene.adopt()

    found = scene.plane().audit("kb")

    assert found["foreign"]["detectable"] is False
    assert any("nothing can be told from the vectors alone" in sentence for sentence in found["not_seen"])
    assert np.isclose(found["sample"]["noise_floor"], 0, atol=1e-6)
