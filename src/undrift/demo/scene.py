"""The folder that a demo plays in: configuration, documents, questions, and who may change what."""

from __future__ import annotations

import json
import platform
import random
import tomllib
from dataclasses import dataclass
from pathlib import Path

from undrift.config import Config, Settings
from undrift.demo.corpus import golden_files, standard_library
from undrift.demo.expected import State, state_of
from undrift.demo.script import Role, Script
from undrift.flow.jsonl import open_documents, open_lines, read_objects
from undrift.quality.golden import GoldenSet, parse_golden_set

ALIAS = "kb"
STORE = "main"
OLD_MODEL, NEW_MODEL = "old", "new"
GOLDEN_SET = "questions"
CONFIG_FILE = "undrift.toml"

_CONFIG = f"""\
# The settings of `undrift demo`. Both models give 256 dimensions, and still their vectors may never meet.
ledger = "sqlite:///undrift.db"

[stores.{STORE}]
url = "sqlite-vec:./vectors.db"

[models.{OLD_MODEL}]
provider = "hashing"
dimensions = 256

[models.{NEW_MODEL}]
provider = "wordllama"
dimensions = 256

[aliases.{ALIAS}]
store = "{STORE}"
model = "{OLD_MODEL}"

# Shorter than by default, so that what a killed worker held is free again after seconds.
[timing]
lease_s = 4.0
poll_s = 0.3
work_lease_s = 5.0
fence_horizon_s = 1.0
"""

#: Documents that the two writers and the deleter have to themselves, and that the writers share, at most.
_OWN = (400, 400, 600)
_SHARED = 24
#: Of a corpus without questions, the first words of some documents are searched for.
_QUESTIONS, _WORDS = 200, 12
#: Seconds between two operations of an actor, on average: enough traffic to be live, little enough for two cores.
_SEARCH_PAUSE_S = 0.03
_WRITE_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is there before the demo begins.

    Attributes:
        folder: where everything is.
        documents: the JSON Lines file that is loaded.
        what: the corpus in words.
        initial: state of each document by id.
        golden: questions with judged answers, None for a corpus that has none.
        casting: the part of each actor that makes live traffic.
        never_deleted: how many documents no actor ever deletes.
    """

    folder: Path
    documents: Path
    what: str
    initial: dict[str, State]
    golden: GoldenSet | None
    casting: list[Script]
    never_deleted: int


def settings_in(folder: Path) -> Config:
    """Return the settings of a demo in a folder; variables of the environment are meant for other collections."""
    return Config(Settings.model_validate(tomllib.loads(_CONFIG)), folder / CONFIG_FILE, _CONFIG)


def set_up(folder: Path, corpus: Path | None) -> Scene:
    """Lay out settings, documents, questions and parts in a folder.

    Args:
        folder: an empty folder.
        corpus: the user's documents as JSON Lines; the documentation of the standard library when there are none.

    Raises:
        BadInputLine, BadDocument: a line of the user's file cannot be taken.
    """
    (folder / CONFIG_FILE).write_text(_CONFIG, encoding="utf-8")
    documents = corpus.absolute() if corpus else _write_library(folder / "documents.jsonl")
    with open_documents(documents) as read:
        initial = {document.id: state_of(document.text, document.metadata) for document in read}
    golden = None if corpus else _golden(folder)
    casting = _cast(folder, documents, list(initial), golden)
    changed = {key for script in casting for key in (*script.own, *script.shared)}
    return Scene(
        folder=folder,
        documents=documents,
        what=f"of {corpus.name}" if corpus else f"of the standard library of Python {platform.python_version()}",
        initial=initial,
        golden=golden,
        casting=casting,
        never_deleted=len(initial) - len(changed),
    )


def _cast(folder: Path, documents: Path, ids: list[str], golden: GoldenSet | None) -> list[Script]:
    """Give each actor its documents, none of which is an answer to a question: quality stays comparable."""
    chance = random.Random(0)
    judged = {id for query in golden.queries for id in query.relevant} if golden else set()
    free = [id for id in ids if id not in judged]
    chance.shuffle(free)
    shares = [free[start::4] for start in range(4)]
    own = [share[:most] for share, most in zip(shares, _OWN, strict=False)]
    shared = shares[3][:_SHARED]
    asked = [] if golden else chance.sample(ids, min(_QUESTIONS, len(ids)))
    texts = _texts(documents, {*shared, *asked, *(id for share in own for id in share)})
    questions = [query.text for query in golden.queries] if golden else [_first_words(texts[id]) for id in asked]
    return [
        *(
            Script(
                name=f"searcher-{number}",
                role=Role.SEARCHER,
                folder=folder,
                seed=number,
                pause_s=_SEARCH_PAUSE_S,
                questions=questions,
            )
            for number in (1, 2)
        ),
        *(
            Script(
                name=name,
                role=role,
                folder=folder,
                seed=seed,
                pause_s=_WRITE_PAUSE_S,
                own={id: texts[id] for id in own[seed]},
                shared={id: texts[id] for id in shared} if role is Role.WRITER else {},
            )
            for seed, (name, role) in enumerate(
                [("writer-1", Role.WRITER), ("writer-2", Role.WRITER), ("deleter", Role.DELETER)]
            )
        ),
    ]


def _first_words(text: str) -> str:
    return " ".join(text.split()[:_WORDS])


def _texts(documents: Path, wanted: set[str]) -> dict[str, str]:
    with open_documents(documents) as read:
        return {document.id: document.text for document in read if document.id in wanted}


def _write_library(path: Path) -> Path:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(document) + "\n" for document in standard_library())
    return path


def _golden(folder: Path) -> GoldenSet:
    """Copy the demo's questions into the folder, so that it can be looked at as a whole, and read them."""
    paths = [folder / file.name for file in golden_files()]
    for path, file in zip(paths, golden_files(), strict=True):
        path.write_bytes(file.read_bytes())
    questions, judgements = paths
    with open_lines(questions) as asked, open_lines(judgements) as judged:
        return parse_golden_set(
            GOLDEN_SET,
            queries=read_objects(asked, str(questions)),
            queries_name=str(questions),
            judgements=judged,
            judgements_name=str(judgements),
        )
