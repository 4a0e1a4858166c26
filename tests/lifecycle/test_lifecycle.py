"""Every case goes through the whole life of a migration, in every layout, and both fields stay true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from undrift import Document
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.domain.record import Vectors
from undrift.domain.space import Space
from undrift.errors import TextTooLong
from undrift.ports.embedder import Embedder, EmbedderLimits, TokenCount
from undrift.ports.store import Layout as StoreLayout
from undrift.testing.lifecycle import LifecycleCase, Stage, run_lifecycle
from undrift.testing.rig import Layout, Rig, documents

TEXTS = [f"the {word} of number {number}" for number, word in enumerate(("root", "leaf", "stem", "bark", "seed") * 3)]
DOCUMENTS = documents(*TEXTS)
#: More than the probe texts have.
MOST_WORDS = 120


@dataclass
class ShortTexts:
    """A model that refuses a long text."""

    inner: HashingEmbedder

    @property
    def space(self) -> Space:
        return replace(self.inner.space, model="short-texts", max_tokens=MOST_WORDS)

    @property
    def limits(self) -> EmbedderLimits:
        return self.inner.limits

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        if any(len(text.split()) > MOST_WORDS for text in texts):
            raise TextTooLong("a text is too long for short-texts")
        return self.inner.embed_documents(texts)

    def embed_query(self, text: str) -> Any:
        return self.inner.embed_query(text)

    def count_tokens(self, texts: Sequence[str]) -> TokenCount:
        return self.inner.count_tokens(texts)

    def close(self) -> None:
        self.inner.close()


LONG = " ".join(["word"] * 200)


def is_unfit(document: Document) -> bool:
    return len(document.text.split()) > MOST_WORDS or not document.text.strip()


def deletes_during(stage: Stage) -> None:
    stage.delete("d01", "d05", "d09", "d13")
    stage.upsert(Document(id="d05", text="back again"))
    stage.delete("never there")
    stage.delete_where(number=7)


def deletes_after(stage: Stage) -> None:
    stage.upsert(*DOCUMENTS[:4])
    stage.delete("d00", "d02", "d14")


def partial_updates(stage: Stage) -> None:
    stage.update_metadata("d00", lang="en")
    stage.update_metadata("d14", lang="de", number=140)
    stage.update_metadata("d07", nested={"a": [1, 2, {"b": None}]})
    stage.update_metadata("nobody", lang="fr")
    stage.upsert(Document(id="d03", text="another text", metadata={"fresh": True}))
    stage.update_metadata("d03", later=1)


def heal(stage: Stage) -> None:
    """Shorten or delete what the new model could not take; those that exist in the source only are no application's."""
    for id in ("long", "later long"):
        if id in stage.truth:
            stage.upsert(Document(id=id, text="short now"))
    stage.delete("blank")


def write_long(stage: Stage) -> None:
    stage.upsert(Document(id="later long", text=LONG + " as well"), Document(id="short", text="short"))


def write_unicode(stage: Stage) -> None:
    stage.upsert(
        Document(id="ключ", text="Ein Schlüssel öffnet die Tür", metadata={"schön": "ja"}),
        Document(id="鍵", text="鍵は扉を開ける"),
        Document(id="e\u0301", text="decomposed"),
        Document(id="\u00e9", text="composed"),
        Document(id="🗝" * 100, text="a long id"),
        Document(id="'; DROP TABLE dirty; --", text="a rude id"),
    )
    stage.update_metadata("ключ", lang="de")
    stage.delete("鍵")


def write_many(stage: Stage) -> None:
    stage.upsert(*(replace(document, text=f"{document.text}, written again") for document in DOCUMENTS[::2]))
    stage.upsert(*documents(*(f"new {number}" for number in range(70)), prefix="n"))
    stage.delete("d01", "n03")


CASES = [
    LifecycleCase(name="plain", documents=DOCUMENTS),
    LifecycleCase(
        name="deletes",
        documents=DOCUMENTS,
        after_start=deletes_during,
        after_cutover=deletes_after,
        after_rollback=deletes_during,
        after_completion=deletes_after,
    ),
    LifecycleCase(
        name="partial updates",
        documents=DOCUMENTS,
        after_start=partial_updates,
        after_cutover=partial_updates,
        after_rollback=partial_updates,
        after_completion=partial_updates,
    ),
    LifecycleCase(
        name="texts that the new model does not take",
        documents=[*DOCUMENTS, Document(id="long", text=LONG)],
        foreign=[Document(id="blank", text=" \n ")],
        after_start=write_long,
        after_rollback=heal,
        unfit=is_unfit,
    ),
    LifecycleCase(name="an empty collection"),
    LifecycleCase(
        name="an empty collection that fills",
        after_start=lambda stage: stage.upsert(*DOCUMENTS[:3]),
        after_cutover=lambda stage: stage.upsert(*DOCUMENTS[3:6]),
        after_rollback=lambda stage: stage.delete("d00"),
    ),
    LifecycleCase(
        name="a collection that is emptied",
        documents=DOCUMENTS,
        after_start=lambda stage: stage.delete(*stage.truth),
        after_completion=lambda stage: stage.upsert(DOCUMENTS[0]),
    ),
    LifecycleCase(
        name="ids and texts of every script",
        documents=DOCUMENTS[:3],
        after_start=write_unicode,
        after_cutover=write_unicode,
        after_rollback=write_unicode,
        after_completion=write_unicode,
    ),
    LifecycleCase(
        name="an inline mirror",
        documents=DOCUMENTS,
        after_start=deletes_during,
        after_cutover=write_many,
        after_rollback=partial_updates,
        mirror="inline",
    ),
    LifecycleCase(
        name="a rollback in a hurry, with dirty documents",
        documents=DOCUMENTS,
        after_start=write_many,
        after_cutover=write_many,
        after_rollback=deletes_during,
        rollback_now=True,
    ),
    LifecycleCase(
        name="a cutover that freezes writes",
        documents=DOCUMENTS,
        after_start=write_many,
        after_cutover=deletes_after,
        after_rollback=write_many,
        freeze_s=2.0,
    ),
]


def models() -> dict[str, Embedder]:
    return {
        "old": HashingEmbedder(dimensions=16, seed="old"),
        "new": ShortTexts(HashingEmbedder(dimensions=24, seed="new")),
    }


@pytest.mark.parametrize("layout", Layout, ids=lambda layout: layout.value)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "_"))
def test_both_fields_stay_true_through_the_whole_life(tmp_path: Path, case: LifecycleCase, layout: Layout) -> None:
    run_lifecycle(case, Rig(folder=tmp_path, layout=layout, models=models(), mirror=case.mirror))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "_"))
def test_both_fields_stay_true_in_the_same_records(tmp_path: Path, case: LifecycleCase) -> None:
    run_lifecycle(case, Rig(folder=tmp_path, models=models(), mirror=case.mirror), StoreLayout.IN_PLACE)


#: The cases in which something happens to tags that an ordinary one does not show.
LEDGER_TAGS = [
    case for case in CASES if case.name not in ("plain", "an empty collection", "an empty collection that fills")
]


@pytest.mark.parametrize("layout", [Layout.MEMORY, Layout.ONE_FILE], ids=lambda layout: layout.value)
@pytest.mark.parametrize("case", LEDGER_TAGS, ids=lambda case: case.name.replace(" ", "_"))
def test_both_fields_stay_true_when_their_tags_are_in_the_ledger(
    tmp_path: Path, case: LifecycleCase, layout: Layout
) -> None:
    run_lifecycle(
        case, Rig(folder=tmp_path, layout=layout, models=models(), mirror=case.mirror, collection="kb?tags=ledger")
    )
