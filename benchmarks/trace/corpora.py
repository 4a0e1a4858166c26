"""The traces: a seeded one over the documentation of the standard library, and real changes of real pages."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.trace.events import Action, Crash, Delete, Event, Merge, Moment, Put, Search, Text, Trace
from benchmarks.trace.stage import PROCESSES
from undrift.demo.corpus import golden_files, standard_library
from undrift.domain.record import canonical_text

#: Documents that a back-fill reads at a time, as in the tutorial that most recipes come from.
BATCH = 100
#: Beside the project, where it is there; no part of it is.
TLDR_UPDATES = Path(__file__).resolve().parents[3] / "shared" / "data" / "tldr-updates"
#: Writes at each moment of a batch, and searches.
_WRITES, _SEARCHES = 3, 1
#: Writes around the back-fill, of the made-up trace; at each there is a search for every four of them.
_AROUND = {
    Moment.BEFORE: 20,
    Moment.CAUGHT_UP: 40,
    Moment.CUTOVER: 20,
    Moment.AFTER: 120,
    Moment.ROLLBACK: 20,
    Moment.BACK: 40,
}
#: Share of the real changes that comes at a moment; the rest comes during the back-fill.
_SHARES = {
    Moment.BEFORE: 0.05,
    Moment.CAUGHT_UP: 0.05,
    Moment.CUTOVER: 0.02,
    Moment.AFTER: 0.2,
    Moment.ROLLBACK: 0.02,
    Moment.BACK: 0.06,
}
#: Every so many real changes somebody searches, and every so many somebody changes metadata only.
_SEARCH_EVERY, _MERGE_EVERY = 40, 5


def standard_library_trace(seed: int, *, documents: int | None = None, batch: int = BATCH) -> Trace:
    """Return a made-up trace over the documentation of this Python's standard library.

    While a batch is held, one half of the writes go to documents of that batch, one quarter to those that are copied
    already, one quarter to those that are not. Of four writes one is a new text, one a delete, one a change of
    metadata, and one a document that was not there, or that comes back.

    Args:
        seed: what it is drawn with.
        documents: use only so many, spread over all of them.
        batch: documents in a batch.
    """
    found = _library()
    every = max(1, len(found) // documents) if documents else 1
    base = found[::every][:documents]
    drawn = _Drawn(random.Random(seed), base, _questions())
    events: list[Event] = []
    starts = range(0, len(base), batch)
    for moment, count in _AROUND.items():
        if moment is Moment.CAUGHT_UP:
            for start in starts:
                events += drawn.while_held(start, min(start + batch, len(base)))
        events += drawn.around(moment, count)
    events.append(drawn.crash(batch))
    return Trace(corpus="standard library", seed=seed, batch=batch, base=base, events=_in_order(events))


def tldr_trace(seed: int, *, folder: Path = TLDR_UPDATES, batch: int = BATCH) -> Trace | None:
    """Return a trace of the real changes of the tldr pages in their real order, or None where they are not there.

    Real are the texts, what was changed and deleted, and the order. Drawn are the moments, the crash, the searches,
    the process, and changes of metadata, which the source has none of.
    """
    if not folder.is_dir():
        return None
    base = tuple(
        sorted((_page(row) for row in _rows(folder / "corpus_base.jsonl.gz")), key=lambda document: document.id)
    )
    chance = random.Random(seed)
    questions = _questions()
    actions: list[Action] = []
    for number, row in enumerate(_rows(folder / "ops.jsonl.gz")):
        actions.append(Delete(id=row["id"]) if row["op"] == "delete" else Put(document=_page(row)))
        if number % _MERGE_EVERY == seed % _MERGE_EVERY:
            actions.append(Merge(id=chance.choice(base).id, changes={"seen": number}))
        if number % _SEARCH_EVERY == 0:
            actions.append(Search(question=chance.choice(questions)))
    events: list[Event] = []
    anchors = [_middle(base, start, min(start + batch, len(base))) for start in range(0, len(base), batch)]
    held = [(moment, anchor) for anchor in anchors for moment in (Moment.READ, Moment.WRITE)]
    rest = iter(actions)
    for moment, share in _SHARES.items():
        if moment is Moment.CAUGHT_UP:
            during = round((1 - sum(_SHARES.values())) * len(actions))
            for number, action in enumerate(islice(rest, during)):
                then, anchor = held[number * len(held) // during]
                events.append(Event(moment=then, action=action, anchor=anchor, process=chance.randrange(PROCESSES)))
        events += [
            Event(moment=moment, action=action, process=chance.randrange(PROCESSES))
            for action in islice(rest, round(share * len(actions)))
        ]
    crash = anchors[chance.randrange(len(anchors) // 4, 3 * len(anchors) // 4)]
    events.append(Event(moment=Moment.WRITE, action=Crash(), anchor=crash))
    return Trace(corpus="tldr pages", seed=seed, batch=batch, base=base, events=_in_order(events))


class _Drawn:
    """Draws what happens."""

    def __init__(self, chance: random.Random, base: Sequence[Text], questions: Sequence[str]) -> None:
        self._chance = chance
        self._base = base
        self._questions = questions
        self._count = 0

    def while_held(self, start: int, end: int) -> Iterator[Event]:
        """Yield what happens while the back-fill holds the documents from one position to another."""
        anchor = _middle(self._base, start, end)
        for moment in (Moment.READ, Moment.WRITE):
            for _ in range(_WRITES):
                within = self._chance.choice([(start, end), (start, end), (0, start or end), (end, len(self._base))])
                yield self._event(moment, self._write(*within), anchor)
            for _ in range(_SEARCHES):
                yield self._event(moment, self._search(), anchor)

    def around(self, moment: Moment, writes: int) -> Iterator[Event]:
        """Yield what happens at another moment."""
        for number in range(min(writes, len(self._base))):
            yield self._event(moment, self._write(0, len(self._base)))
            if number % 4 == 0:
                yield self._event(moment, self._search())

    def crash(self, batch: int) -> Event:
        """Return a death in some batch that is neither among the first nor among the last."""
        batches = max(1, len(self._base) // batch)
        start = batch * self._chance.randrange(batches // 4, max(batches // 4 + 1, 3 * batches // 4))
        return self._event(Moment.WRITE, Crash(), _middle(self._base, start, min(start + batch, len(self._base))))

    def _event(self, moment: Moment, action: Action, anchor: str = "") -> Event:
        return Event(moment=moment, action=action, anchor=anchor, process=self._chance.randrange(PROCESSES))

    def _search(self) -> Search:
        return Search(question=self._chance.choice(self._questions))

    def _write(self, start: int, end: int) -> Action:
        known = self._chance.choice(self._base[start:end] or self._base)
        self._count += 1
        match self._chance.randrange(4):
            case 0:
                return Put(document=self._edited(known, known.id))
            case 1:
                return Delete(id=known.id)
            case 2:
                return Merge(id=known.id, changes={"reviewed": self._count})
            case _:
                # A new neighbour, so that it comes within the batches; or the same id, which may have been deleted.
                id = known.id if self._chance.random() < 0.5 else f"{known.id}.note{self._count}"
                return Put(document=self._edited(known, id))

    def _edited(self, known: Text, id: str) -> Text:
        """Put another document's last lines behind a text, as an editor does who tells more."""
        more = self._chance.choice(self._base).text.splitlines()[-3:]
        text = canonical_text("\n".join([known.text, f"Edition {self._count}.", *more]))
        return Text(id=id, text=text, metadata={**known.metadata, "edition": self._count})


def _in_order(events: Sequence[Event]) -> tuple[Event, ...]:
    """Order events by moment, and those of the back-fill by their anchors; what is equal keeps its order."""
    moments = list(Moment)
    return tuple(sorted(events, key=lambda event: (moments.index(event.moment), event.anchor)))


def _middle(base: Sequence[Text], start: int, end: int) -> str:
    """Return an id by which a batch is known, although documents may come and go at its edges."""
    return base[(start + end) // 2].id


@cache
def _library() -> tuple[Text, ...]:
    return tuple(
        Text(id=item["id"], text=canonical_text(item["text"]), metadata=dict(item["metadata"]))
        for item in standard_library()
    )


def _questions() -> list[str]:
    questions, _ = golden_files()
    return [json.loads(line)["text"] for line in questions.read_text(encoding="utf-8").splitlines()]


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _page(row: dict[str, Any]) -> Text:
    metadata = {"commit": row["commit"]} if "commit" in row else {}
    return Text(id=row["id"], text=canonical_text(f"{row['title']} {row['text']}"), metadata=metadata)
