"""The actors of a demo: processes that search, write, delete and migrate, each as a client of its own.

`python -m undrift.demo.actors SCRIPT` plays one part until its standard input ends or says `stop`; told to `rest`, it
waits for `go`.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import assert_never

from undrift.control.plane import ControlPlane
from undrift.demo.history import Delete, Effect, History, Merge, Outcome, Put
from undrift.demo.scene import ALIAS, settings_in
from undrift.demo.script import Role, Script
from undrift.domain.record import Document
from undrift.errors import ControlUnavailable, UndriftError, WriteTimeout
from undrift.flow.alias import Alias
from undrift.telemetry import Metric, counted

#: Hits asked for in every search.
HITS = 10
#: Errors that say that nothing was written.
_NOTHING_WRITTEN = (WriteTimeout, ControlUnavailable)
#: Calls of one write before an actor gives up, and its pause between them in seconds.
_ATTEMPTS = 10
_RETRY_S = 0.2
_LOOK_S = 0.02


class Orders:
    """What whoever started this process wants of it; when that one dies, the input ends, and that means stop."""

    def __init__(self) -> None:
        """Listen from now on."""
        self._order = "go"
        threading.Thread(target=self._listen, name="demo-orders", daemon=True).start()

    @property
    def stop(self) -> bool:
        """Whether to end."""
        return self._order == "stop"

    def wait(self, history: History) -> bool:
        """Rest as long as that is the order; False when the order is to stop."""
        if self._order == "rest":
            history.rest()
            while self._order == "rest":
                time.sleep(_LOOK_S)
        return not self.stop

    def _listen(self) -> None:
        # Not through sys.stdin: a thread that waits there keeps the interpreter from ending in order.
        heard = b""
        while data := os.read(sys.stdin.fileno(), 4096):
            *orders, heard = (heard + data).split(b"\n")
            for order in orders:
                self._order = order.decode()
        self._order = "stop"


class Performer:
    """Carries out an actor's operations, and writes down each before and after."""

    def __init__(self, kb: Alias, history: History) -> None:
        """Act on an alias."""
        self._kb = kb
        self._history = history

    def search(self, question: str) -> None:
        """Search, whatever comes of it."""
        number = self._history.begin_search(question)
        dropped = counted(Metric.MIS_TAGGED_HITS)
        try:
            hits = self._kb.search(question, k=HITS)
        except UndriftError as error:
            self._history.end(number, Outcome.FAILED, error=str(error))
            return
        self._history.end(
            number,
            Outcome.ACKNOWLEDGED,
            space=hits.space,
            epoch=hits.epoch,
            spaces=[hit.tag.space if hit.tag else None for hit in hits],
            dropped=counted(Metric.MIS_TAGGED_HITS) - dropped,
            nearest=hits[0].text if len(hits) else "",
            score=hits[0].score if len(hits) else 0.0,
        )

    def change(self, effects: Mapping[str, Effect]) -> None:
        """Change documents in one call; one that fails for a while is repeated, as its error advises.

        Raises:
            UndriftError: it will not get better by itself.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            number = self._history.begin(effects)
            try:
                self._call(effects)
            except UndriftError as error:
                outcome = Outcome.FAILED if isinstance(error, _NOTHING_WRITTEN) else Outcome.UNKNOWN
                self._history.end(number, outcome, error=str(error))
                if not error.retryable or attempt == _ATTEMPTS:
                    raise
                time.sleep(_RETRY_S)
            else:
                self._history.end(number, Outcome.ACKNOWLEDGED)
                return

    def _call(self, effects: Mapping[str, Effect]) -> None:
        puts = []
        for key, effect in effects.items():
            match effect:
                case Put(text=text, metadata=metadata):
                    puts.append(Document(id=key, text=text, metadata=metadata))
                case Merge(changes=changes):
                    self._kb.update_metadata(key, changes)
                case Delete():
                    pass
                case _:
                    assert_never(effect)
        if puts:
            self._kb.upsert(puts)
        deleted = [key for key, effect in effects.items() if isinstance(effect, Delete)]
        if deleted:
            self._kb.delete(deleted)


class Writer:
    """Chooses what a writer does next: new texts, new metadata, new documents, and all of it on shared ones."""

    def __init__(self, script: Script) -> None:
        """Begin with the documents of the script."""
        self._name = script.name
        self._texts = dict(script.own)
        self._shared = dict(script.shared)
        self._chance = random.Random(script.seed)
        self._number = 0

    def next(self) -> dict[str, Effect]:
        """Return the next operation."""
        self._number += 1
        kind = self._chance.random()
        if kind < 0.15 or not self._texts:
            return self._insert()
        if kind < 0.30 and self._shared:
            return self._on_shared()
        keys = self._some(self._texts, 3)
        if kind < 0.55:
            return {keys[0]: Merge(changes={"seen": self._number, "by": self._name})}
        return {key: self._put(self._texts[key]) for key in keys}

    def _insert(self) -> dict[str, Effect]:
        new = {
            f"{self._name}/{self._number}-{part}": f"note {self._number}-{part} of {self._name}, kept for a while"
            for part in range(self._chance.randint(1, 3))
        }
        self._texts |= new
        return {key: self._put(text) for key, text in new.items()}

    def _on_shared(self) -> dict[str, Effect]:
        key = self._chance.choice(list(self._shared))
        effects: list[Effect] = [
            self._put(self._shared[key]),
            Merge(changes={"seen": self._number, self._name: self._number}),
            Delete(),
        ]
        return {key: self._chance.choices(effects, weights=[5, 4, 1])[0]}

    def _put(self, text: str) -> Put:
        revised = f"{text}\n\nRevision {self._number} by {self._name}."
        return Put(text=revised, metadata={"revision": self._number, "by": self._name})

    def _some(self, texts: Mapping[str, str], most: int) -> list[str]:
        keys = list(texts)
        return self._chance.sample(keys, min(len(keys), self._chance.randint(1, most)))


class Deleter:
    """Chooses what a deleter does next: it deletes documents, puts some back, and makes a few to have enough."""

    def __init__(self, script: Script) -> None:
        """Begin with the documents of the script."""
        self._name = script.name
        self._there = dict(script.own)
        self._gone: dict[str, str] = {}
        self._chance = random.Random(script.seed)
        self._number = 0

    def next(self) -> dict[str, Effect]:
        """Return the next operation."""
        self._number += 1
        kind = self._chance.random()
        if kind < 0.15 or not self._there:
            key, text = f"{self._name}/{self._number}", f"note {self._number} of {self._name}, to be thrown away soon"
            self._there[key] = text
            return {key: self._put(text)}
        if kind < 0.45 and self._gone:
            back = self._some(self._gone, 2)
            self._there |= {key: self._gone.pop(key) for key in back}
            return {key: self._put(self._there[key]) for key in back}
        away = self._some(self._there, 3)
        self._gone |= {key: self._there.pop(key) for key in away}
        return dict.fromkeys(away, Delete())

    def _put(self, text: str) -> Put:
        return Put(text=f"{text}\n\nPut back by {self._name}, {self._number}.", metadata={"back": self._number})

    def _some(self, texts: Mapping[str, str], most: int) -> list[str]:
        keys = list(texts)
        return self._chance.sample(keys, min(len(keys), self._chance.randint(1, most)))


def play(script: Script) -> None:
    """Play a part to its end."""
    orders = Orders()
    with ControlPlane(settings_in(script.folder), role=script.role.value) as plane:
        if script.role is Role.WORKER:
            plane.work_all([ALIAS], until=lambda: orders.stop, on_error=_give_up)
            return
        with History(script.folder / "histories" / f"{script.name}.jsonl") as history:
            act = _acting(script, Performer(plane.alias(ALIAS), history))
            chance = random.Random(script.seed)
            while orders.wait(history):
                act()
                time.sleep(script.pause_s * chance.uniform(0.5, 1.5))


def _give_up(_alias: str, error: UndriftError) -> None:
    """End the process, so that whoever watches it is told what needs a person."""
    raise error


def _acting(script: Script, performer: Performer) -> Callable[[], None]:
    """Return what an actor does again and again."""
    if script.role is Role.SEARCHER:
        chance = random.Random(script.seed)
        return lambda: performer.search(chance.choice(script.questions))
    chooser = Deleter(script) if script.role is Role.DELETER else Writer(script)
    return lambda: performer.change(chooser.next())


if __name__ == "__main__":
    play(Script.load(Path(sys.argv[1])))
