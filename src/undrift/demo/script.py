"""What an actor is told before it starts: who it is, and which documents are its own."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path


class Role(Enum):
    """What an actor does until it is told to stop."""

    #: It asks questions.
    SEARCHER = "searcher"
    #: It inserts documents, gives others a new text or new metadata, and deletes some that it shares.
    WRITER = "writer"
    #: It deletes documents and puts some of them back.
    DELETER = "deleter"
    #: It carries documents over for the migration.
    WORKER = "worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """An actor's part.

    Attributes:
        name: its name; its history is called after it.
        role: what it does.
        folder: where the configuration and the histories are.
        seed: of its choices.
        pause_s: what it waits on average between two operations, in seconds.
        own: texts by id of documents that nobody else changes.
        shared: texts by id of documents that other actors change too.
        questions: what it searches for.
    """

    name: str
    role: Role
    folder: Path
    seed: int = 0
    pause_s: float = 0.0
    own: dict[str, str] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)
    questions: list[str] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write the part into a file."""
        values = {**asdict(self), "role": self.role.value, "folder": str(self.folder)}
        path.write_text(json.dumps(values), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Script:
        """Read a part from a file."""
        values = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**values, "role": Role(values["role"]), "folder": Path(values["folder"])})
