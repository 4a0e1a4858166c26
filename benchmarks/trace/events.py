"""A trace: what happens to a collection, and at which moment of its migration; the same for every contestant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Moment(Enum):
    """When an event happens. Moments are those of the migration, not of a clock, so that all contestants meet them."""

    #: Before anything begins.
    BEFORE = "before the migration"
    #: The back-fill has read a batch and not yet embedded it.
    READ = "the back-fill has read a batch"
    #: The back-fill has embedded a batch and is about to write it.
    WRITE = "the back-fill is about to write a batch"
    #: Everything is copied, nothing is switched.
    CAUGHT_UP = "the back-fill is over"
    #: One of two application processes has been switched over, the other one has not.
    CUTOVER = "in the middle of the cutover"
    #: The new model serves.
    AFTER = "after the cutover"
    #: One of two application processes has been switched back, the other one has not.
    ROLLBACK = "in the middle of the rollback"
    #: The old model serves again.
    BACK = "after the rollback"


#: From here on a write is one that a rollback may lose.
SINCE_CUTOVER = frozenset({Moment.CUTOVER, Moment.AFTER, Moment.ROLLBACK, Moment.BACK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A document."""

    id: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """A document is inserted, or replaced whole."""

    document: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """A document is deleted."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """Keys are put into a document's metadata; the text stays. One that is not there is not made."""

    id: str
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Somebody asks."""

    question: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """The process that migrates dies, and somebody starts it again."""


Action = Put | Delete | Merge | Search | Crash


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happens.

    Attributes:
        moment: when.
        action: what.
        anchor: for `READ` and `WRITE`: it happens at the first batch that contains this id or ends beyond it.
        process: which of the two application processes does it.
    """

    moment: Moment
    action: Action
    anchor: str = ""
    process: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Everything that happens to a collection.

    Attributes:
        corpus: what the documents are.
        seed: what it was drawn with.
        batch: documents that a back-fill reads at a time.
        base: what the collection begins with, ids ascending.
        events: in order; those of `READ` and `WRITE` by their anchors.
    """

    corpus: str
    seed: int
    batch: int
    base: tuple[Text, ...]
    events: tuple[Event, ...]

    def of(self, moment: Moment) -> list[Event]:
        """Return the events of a moment, in order."""
        return [event for event in self.events if event.moment is moment]


class Truth:
    """What the collection holds when nothing goes wrong: the acknowledged writes, one after the other.

    Attributes:
        documents: text and metadata by id.
        written: when a document was last written.
        needed: how often some document came to have a text, by the text: so many vectors of it may be needed.
    """

    def __init__(self, base: tuple[Text, ...]) -> None:
        """Begin with what the collection begins with."""
        self.documents = {document.id: (document.text, dict(document.metadata)) for document in base}
        self.written: dict[str, Moment] = {}
        self.needed = Counter(document.text for document in base)

    def apply(self, action: Action, moment: Moment) -> None:
        """Take note of an acknowledged write."""
        match action:
            case Put(document=document):
                if self.documents.get(document.id, ("",))[0] != document.text:
                    self.needed[document.text] += 1
                self.documents[document.id] = (document.text, dict(document.metadata))
                self.written[document.id] = moment
            case Delete(id=id):
                self.documents.pop(id, None)
                self.written[id] = moment
            case Merge(id=id, changes=changes) if id in self.documents:
                text, metadata = self.documents[id]
                self.documents[id] = (text, {**metadata, **changes})
                self.written[id] = moment
            case _:
                pass
