"""Plays a trace for one contestant, keeps the truth, and lets the checker look."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from benchmarks.trace.checker import Answer, Findings, Score, Stored, compare, crosses_models, undone_by_rollback
from benchmarks.trace.events import Action, Crash, Delete, Event, Merge, Moment, Put, Search, Text, Trace, Truth
from benchmarks.trace.models import APPLICATION, NEW, OLD, Bill, Kept

#: Application processes.
PROCESSES = 2
#: Nearest documents asked for.
NEAREST = 5


class Killed(BaseException):
    """The migrating process died here; nothing of it catches this."""


class HeldBack(Exception):
    """A recipe does not allow this kind of write while it migrates; the application has to repeat it later."""


class Contestant(Protocol):
    """A way to change a collection's model; each method does what its own documentation tells a user to do."""

    def load(self, documents: Sequence[Text]) -> None:
        """Fill the collection with the old model and start the application's processes."""
        ...

    def start(self) -> None:
        """Do what has to be done before the back-fill."""
        ...

    def backfill(self) -> None:
        """Be the migrating process until everything is copied; called again after it was killed."""
        ...

    def finish(self) -> None:
        """Do what comes between the back-fill and the cutover."""
        ...

    def cutover(self) -> None:
        """Let the new model serve; calls the stage's `halfway` when one process is switched and the other is not."""
        ...

    def rollback(self) -> None:
        """Let the old model serve again; calls `halfway` as `cutover` does."""
        ...

    def put(self, process: int, document: Text) -> None:
        """Insert or replace a document, as the application."""
        ...

    def delete(self, process: int, id: str) -> None:
        """Delete a document, as the application."""
        ...

    def merge(self, process: int, id: str, changes: Mapping[str, Any]) -> None:
        """Put keys into a document's metadata, as the application."""
        ...

    def search(self, process: int, question: str) -> list[Answer]:
        """Search, as the application."""
        ...

    def contents(self) -> dict[str, Stored]:
        """Return everything that is in the field which the application searches."""
        ...

    def close(self) -> None:
        """Let go of files."""
        ...


class Stage:
    """Where one contestant meets one trace.

    Attributes:
        trace: the trace.
        bill: what the contestant embeds is written down here.
        happened: events so far.
        late: of those, events of a batch that came after the back-fill, because it never held or passed their anchor.
    """

    def __init__(self, trace: Trace, models: Mapping[str, Kept]) -> None:
        """Begin before the migration."""
        self.trace = trace
        self.bill = Bill(models)
        self.happened = self.late = 0
        self._models = models
        self._truth = Truth(trace.base)
        self._contestant: Contestant | None = None
        self._pending = {
            moment: deque(sorted(trace.of(moment), key=lambda event: event.anchor))
            for moment in (Moment.READ, Moment.WRITE)
        }
        self._later: list[Event] = []
        self._halfway = Moment.CUTOVER
        self._wrong_model = self._failed = self._held_back = 0

    def play(self, contestant: Contestant) -> Score:
        """Let the trace happen to a contestant."""
        self._contestant = contestant
        contestant.load(self.trace.base)
        self._fire(self.trace.of(Moment.BEFORE))
        contestant.start()
        deaths = self._fill(contestant)
        with self.bill.of("the rest of the migration"):
            contestant.finish()
        self._fire(self.trace.of(Moment.CAUGHT_UP))
        with self.bill.of("the rest of the migration"):
            contestant.cutover()
        self._repeat_what_was_held_back()
        self._fire(self.trace.of(Moment.AFTER))
        served_new = self._check(contestant, NEW)
        self._halfway = Moment.ROLLBACK
        with self.bill.of("the rest of the migration"):
            contestant.rollback()
        self._fire(self.trace.of(Moment.BACK))
        served_old = self._check(contestant, OLD)
        # Whoever is spared a part of the trace has no score.
        if self.happened != len(self.trace.events) or len(deaths) != self._crashes():
            raise RuntimeError(f"{self.happened} of {len(self.trace.events)} events happened, and {len(deaths)} deaths")
        return self._score(served_new, served_old, deaths)

    def read(self, ids: Sequence[str]) -> None:
        """The back-fill has read a batch."""
        self._reach(Moment.READ, ids)

    def write(self, ids: Sequence[str]) -> None:
        """The back-fill is about to write a batch.

        Raises:
            Killed: the process does not live to do so.
        """
        self._reach(Moment.WRITE, ids)

    def halfway(self) -> None:
        """One application process has been switched, the other one has not."""
        self._fire(self.trace.of(self._halfway))

    def _fill(self, contestant: Contestant) -> list[Counter[str]]:
        """Let it migrate; return how many vectors of each text had been needed at each death."""
        deaths: list[Counter[str]] = []
        while True:
            try:
                with self.bill.of(_life(len(deaths))):
                    contestant.backfill()
                break
            except Killed:
                deaths.append(self._truth.needed.copy())
        # What was to happen beyond the last document.
        for moment in (Moment.READ, Moment.WRITE):
            self.late += len(self._pending[moment])
            self._fire(list(self._pending[moment]))
            self._pending[moment].clear()
        return deaths

    def _reach(self, moment: Moment, ids: Sequence[str]) -> None:
        pending = self._pending[moment]
        while ids and pending and pending[0].anchor <= max(ids):
            event = pending.popleft()
            if isinstance(event.action, Crash):
                self.happened += 1
                raise Killed
            self._fire([event])

    def _fire(self, events: Sequence[Event]) -> None:
        with self.bill.of(APPLICATION):
            for event in events:
                self.happened += 1
                self._happen(event)

    def _happen(self, event: Event) -> None:
        assert self._contestant is not None
        action = event.action
        if isinstance(action, Search):
            self._ask(event.process, action.question)
            return
        if isinstance(action, Put):
            # A text that replaces the document whole makes earlier changes of it pointless.
            self._later = [held for held in self._later if _id(held.action) != action.document.id]
        elif any(_id(held.action) == _id(action) for held in self._later):
            self._hold(event)
            return
        try:
            self._do(event.process, action)
        except HeldBack:
            self._hold(event)
        except Exception:
            self._failed += 1
        else:
            self._truth.apply(action, event.moment)

    def _hold(self, event: Event) -> None:
        self._held_back += 1
        self._later.append(event)

    def _repeat_what_was_held_back(self) -> None:
        held, self._later = self._later, []
        self._fire([replace(event, moment=Moment.AFTER) for event in held])
        self.happened -= len(held)

    def _do(self, process: int, action: Action) -> None:
        assert self._contestant is not None
        match action:
            case Put(document=document):
                self._contestant.put(process, document)
            case Delete(id=id):
                self._contestant.delete(process, id)
            case Merge(id=id, changes=changes):
                self._contestant.merge(process, id, changes)

    def _ask(self, process: int, question: str) -> None:
        assert self._contestant is not None
        try:
            answers = self._contestant.search(process, question)
        except Exception:
            self._failed += 1
            return
        models = [kept.vectors for kept in self._models.values()]
        self._wrong_model += crosses_models(question, answers, models)

    def _crashes(self) -> int:
        return sum(isinstance(event.action, Crash) for event in self.trace.events)

    def _check(self, contestant: Contestant, model: str) -> Findings:
        return compare(self._truth.documents, contestant.contents(), self._models[model].vectors)

    def _score(self, served_new: Findings, served_old: Findings, deaths: Sequence[Counter[str]]) -> Score:
        undone = undone_by_rollback(served_old, self._truth.written)
        return Score(
            lost=len(served_new.lost | (served_old.lost - undone)),
            resurrected=len(served_new.resurrected | (served_old.resurrected - undone)),
            stale=len(served_new.stale | (served_old.stale - undone)),
            mixed=len(served_new.mixed | served_old.mixed),
            wrong_model=self._wrong_model,
            undone=len(undone),
            paid_twice=sum(
                self.bill.tokens_again(_life(one), _life(one + 1), before=before, after=self._truth.needed)
                for one, before in enumerate(deaths)
            ),
            failed=self._failed,
            held_back=self._held_back,
            tokens=self.bill.tokens(),
        )


def _life(number: int) -> str:
    return f"back-fill {number}"


def _id(action: Action) -> str:
    match action:
        case Put(document=document):
            return document.id
        case Delete(id=id) | Merge(id=id):
            return id
        case _:
            return ""
