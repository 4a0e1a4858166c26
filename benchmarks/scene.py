"""A folder with a configuration, a ledger, and a collection with documents in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import undrift
from benchmarks.vectors import DIMENSIONS
from undrift.control import ControlPlane
from undrift.demo.corpus import standard_library
from undrift.domain.record import Record, stamp
from undrift.domain.route import VectorField

ALIAS = "kb"
_STORE = "vectors.db"
_CONFIGURATION = """
ledger = "{ledger}"

[stores.main]
url = "{store}"

[models.old]
provider = "callable"
function = "benchmarks.vectors:old"
name = "old"
revision = "1"
dimensions = {dimensions}
batch_size = 256
worth_keeping = false

[models.new]
provider = "callable"
function = "benchmarks.vectors:new"
name = "new"
revision = "1"
dimensions = {dimensions}
batch_size = 256
worth_keeping = false

[models.paced]
provider = "callable"
function = "benchmarks.vectors:paced"
name = "paced"
revision = "1"
dimensions = {dimensions}
batch_size = 64
worth_keeping = false

[models.wordllama]
provider = "wordllama"

[aliases.{alias}]
store = "main"
collection = "{alias}"
model = "{model}"
"""
#: Records written at a time while a scene is set; not measured.
_FILL = 2048
_SENTENCES = (
    "A vector is only comparable with vectors of the same model, revision and settings.",
    "Everything stored before the change lies in another space, and nobody is told.",
    "The café at the corner opens at nine; déjà vu is no reason to come earlier.",
    "Writes, partial updates and deletes keep working while the collection moves.",
    "What was paid for once is kept, and what cannot be carried over is named.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A prepared folder; any process can open it."""

    folder: Path

    @property
    def store_file(self) -> Path:
        """The file of the vectors."""
        return self.folder / _STORE

    def open(self) -> ControlPlane:
        """Open it as an application does."""
        return undrift.open(self.folder / "undrift.toml")

    def copy(self, folder: Path) -> Scene:
        """Return a second scene like this one, which nobody may have open meanwhile."""
        shutil.copytree(self.folder, folder)
        return Scene(folder=folder)


def prepare(
    folder: Path,
    documents: Iterable[undrift.Document],
    *,
    model: str = "old",
    one_file: bool = False,
    ledger: str = "",
    store: str = "",
) -> Scene:
    """Make a scene.

    Args:
        folder: where; it is made.
        documents: what the collection begins with.
        model: the model it begins with.
        one_file: whether the ledger lies in the file of the vectors.
        ledger: its address, where it is not a file.
        store: its address, where it is not a file.
    """
    folder.mkdir(parents=True)
    text = _CONFIGURATION.format(
        ledger=ledger or f"sqlite:///{_STORE if one_file else 'undrift.db'}",
        store=store or f"sqlite-vec:{_STORE}",
        dimensions=DIMENSIONS,
        alias=ALIAS,
        model=model,
    )
    (folder / "undrift.toml").write_text(text, encoding="utf-8")
    scene = Scene(folder=folder)
    with scene.open() as plane:
        serving = plane.alias(ALIAS).route().serving
        for batch in batches(documents, _FILL):
            plane.store_of(serving).upsert(serving, records(plane, serving, batch))
    return scene


def records(plane: ControlPlane, field: VectorField, documents: list[undrift.Document]) -> list[Record]:
    """Return documents with the vectors of a field's model, ready to be written into it."""
    door = plane.door_of(field.space)
    vectors = door.documents([document.text for document in documents]).vectors
    return stamp(documents, vectors, space=door.space, sequences={})


def document(number: int, edition: int = 0) -> undrift.Document:
    """Return a made-up document of about 200 characters; another edition has the same id and another text."""
    sentences = (_SENTENCES[(number + place) % len(_SENTENCES)] for place in range(2))
    return undrift.Document(
        id=f"doc{number:07d}",
        text=f"{number} in edition {edition}. {' '.join(sentences)}",
        metadata={"lang": "en", "part": number % 10},
    )


def documents(count: int) -> Iterator[undrift.Document]:
    """Yield so many made-up documents, in the order of their ids."""
    return map(document, range(count))


def real_documents(limit: int) -> list[undrift.Document]:
    """Return the documentation of the standard library of this Python, or the first part of it."""
    return [undrift.Document(id=item["id"], text=item["text"]) for item in islice(standard_library(), limit)]


def batches(things: Iterable[undrift.Document], size: int) -> Iterator[list[undrift.Document]]:
    """Yield documents by the batch."""
    rest = iter(things)
    while batch := list(islice(rest, size)):
        yield batch
