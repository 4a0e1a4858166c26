"""Records of one field become records of the other: the known is used, the spent is counted, the failed is named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.migrate.scene import DOCUMENTS, Scene
from undrift import Document
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.domain.record import DocumentId, Entry, Record, content_hash
from undrift.errors import BudgetExhausted, NoMigration, StoreRejected
from undrift.migrate.carry import make_records, write_all
from undrift.ports.embedder import EmbedderLimits
from undrift.ports.store import Part
from undrift.testing.rig import ALIAS


class Paid(HashingEmbedder):
    """A model that somebody is billed for, two texts at a time."""

    paid = True

    @property
    def limits(self) -> EmbedderLimits:
        return replace(super().limits, paid=self.paid, batch_size=2, worth_keeping=True, usd_per_million_tokens=1.0)


class Free(Paid):
    paid = False


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path).begin()
    yield scene
    scene.rig.close()


def entries(scene: Scene, *ids: str) -> list[Entry]:
    place = scene.migration.source
    return list(scene.rig.store().entries(place, [DocumentId(id) for id in ids], Part.TEXT).values())


def test_records_are_made_with_vector_tag_and_metadata_of_the_other_field(scene: Scene) -> None:
    made = make_records(scene.workshop, entries(scene, "d00", "d01"), scene.migration.target)

    assert [record.id for record in made.records] == ["d00", "d01"]
    assert made.failures == {}
    for record, document in zip(made.records, DOCUMENTS, strict=False):
        assert (record.text, record.metadata) == (document.text, document.metadata)
        assert (record.tag.space, record.tag.content) == (scene.migration.target.space, content_hash(document.text))
        assert (record.vector == scene.rig.vector(record.tag.space, record.text)).all()


def test_of_nothing_nothing_is_made(scene: Scene) -> None:
    made = make_records(scene.workshop, [], scene.migration.target)

    assert (made.records, made.failures) == ([], {})


def test_a_vector_that_is_there_of_the_same_text_is_taken(scene: Scene) -> None:
    place = scene.migration.target
    have = make_records(scene.workshop, entries(scene, "d00", "d01"), place).records
    scene.calls().clear()

    again = make_records(scene.workshop, entries(scene, "d00", "d01", "d02"), place, have=have)

    assert (again.records[0].vector == have[0].vector).all()
    assert scene.calls().count("model.embed_documents") == 1
    assert len(again.records) == 3


def test_a_vector_of_another_text_or_another_space_is_not_taken(scene: Scene) -> None:
    """Same dimensions prove nothing."""
    place = scene.migration.target
    wrong_text = make_records(scene.workshop, entries(scene, "d01"), place).records[0]
    wrong_space = make_records(scene.workshop, entries(scene, "d01"), scene.migration.source).records[0]

    made = make_records(
        scene.workshop,
        entries(scene, "d00", "d01"),
        place,
        have=[replace(wrong_text, id=DocumentId("d00")), wrong_space],
    )

    assert (made.records[0].vector == scene.rig.vector(place.space, DOCUMENTS[0].text)).all()
    assert (made.records[1].vector == scene.rig.vector(place.space, DOCUMENTS[1].text)).all()


@dataclass
class Shelf:
    """A source of texts that is not the store."""

    shelf: dict[str, str]

    def texts(self, entries: Sequence[Entry]) -> dict[DocumentId, str]:
        return {entry.id: self.shelf[entry.id] for entry in entries if entry.id in self.shelf}


def test_each_document_that_cannot_be_made_is_named_with_its_reason(scene: Scene) -> None:
    scene.write(*(Document(id=id, text=f"text {id}") for id in ("gone", "blank", "moved", "good")))
    workshop = replace(scene.workshop, source=Shelf({"blank": " \n", "moved": "another text", "good": "text good"}))

    made = make_records(workshop, entries(scene, "gone", "blank", "moved", "good"), scene.migration.target)

    assert [record.id for record in made.records] == ["good"]
    assert {id: reason for id, (reason, _) in made.failures.items()} == {
        "gone": "source_missing",
        "blank": "blank_text",
        "moved": "hash_mismatch",
    }
    assert all(detail for _, detail in made.failures.values())


# The budget


def paid(tmp_path: Path, model: type[HashingEmbedder], budget: int | None) -> Scene:
    models = {"old": HashingEmbedder(dimensions=16, seed="old"), "new": model(dimensions=24, seed="new")}
    scene = Scene(tmp_path, models=models)
    scene.operator.plane.register(ALIAS, "new", budget_tokens=budget, unlimited=budget is None)
    return scene


@pytest.mark.parametrize("model", [Paid, Free])
def test_a_budget_stops_before_the_request_that_would_exceed_it(tmp_path: Path, model: type[HashingEmbedder]) -> None:
    """Each text has four tokens, each request two texts: five texts are not paid for when 16 tokens may be spent."""
    scene = paid(tmp_path, model, 16)

    with pytest.raises(BudgetExhausted):
        make_records(scene.workshop, entries(scene, *(one.id for one in DOCUMENTS)), scene.migration.target)

    asked = scene.calls().count("model.embed_documents")
    assert scene.migration.tokens == 16
    assert asked - _proofs(scene) == 2
    scene.rig.close()


def _proofs(scene: Scene) -> int:
    """Requests that proved the model: its eleven probe texts, two at a time."""
    return 6 if scene.calls().count("model.embed_query") else 0


def test_what_was_paid_for_before_the_budget_ended_is_not_paid_for_again(tmp_path: Path) -> None:
    scene = paid(tmp_path, Paid, 16)
    everything = entries(scene, *(one.id for one in DOCUMENTS))
    with pytest.raises(BudgetExhausted):
        make_records(scene.workshop, everything, scene.migration.target)
    scene.ledger.set_budget(scene.migration.id, tokens=48, usd=None)

    made = make_records(scene.workshop, everything, scene.migration.target)

    assert len(made.records) == 12
    assert scene.migration.tokens == 48
    scene.rig.close()


def test_without_a_budget_tokens_are_counted(tmp_path: Path) -> None:
    scene = paid(tmp_path, Free, None)

    make_records(scene.workshop, entries(scene, "d00", "d01", "d02"), scene.migration.target)

    assert scene.migration.tokens == 12
    scene.rig.close()


def test_without_a_migration_nothing_is_spent(tmp_path: Path) -> None:
    scene = Scene(tmp_path).begin()
    target, everything = scene.migration.target, entries(scene, "d00")
    scene.operator.plane.cancel(ALIAS)

    with pytest.raises(NoMigration):
        make_records(scene.workshop, everything, target)
    scene.rig.close()


# Writing


def records(count: int) -> list[Record]:
    return [Record(id=DocumentId(str(n)), text="", metadata={}, vector=None, tag=None) for n in range(count)]  # type: ignore[arg-type]


def test_records_that_a_store_rejects_are_singled_out() -> None:
    written: list[str] = []

    def write(batch: Sequence[Record]) -> None:
        if {"3", "6"} & {record.id for record in batch}:
            raise StoreRejected("not these")
        written.extend(record.id for record in batch)

    failures = write_all(write, records(8))

    assert {id: reason for id, (reason, _) in failures.items()} == {"3": "rejected_by_store", "6": "rejected_by_store"}
    assert sorted(written) == ["0", "1", "2", "4", "5", "7"]


def test_a_single_record_that_is_rejected_is_to_blame() -> None:
    def write(_: Any) -> None:
        raise StoreRejected("not this one")

    assert list(write_all(write, records(1))) == ["0"]


def test_a_store_that_rejects_everything_is_to_blame() -> None:
    def write(_: Any) -> None:
        raise StoreRejected("the disk is full")

    with pytest.raises(StoreRejected, match="takes no document at all") as raised:
        write_all(write, records(3))
    assert "the disk is full" in raised.value.detail
