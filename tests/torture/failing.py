"""What goes wrong inside an actor's process: it dies or stands still at a named point, and its wall clock jumps."""

from __future__ import annotations

import mmap
import os
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from undrift.adapters.clock import SystemClock
from undrift.adapters.sqlite import Database
from undrift.config import Config
from undrift.plugins import Plugins
from undrift.ports.ledger import Ledger
from undrift.ports.store import VectorStore
from undrift.testing.faults import Faults, When

_T = TypeVar("_T")
SENDS = frozenset({"store.upsert", "store.insert_absent", "store.delete", "store.merge_metadata"})

#: Named points: the calls, and on which side of them. A `during` ends the process while the call is under way.
FAILPOINTS: dict[str, tuple[frozenset[str], str]] = {
    "before_open": (frozenset({"ledger.open"}), "before"),
    "during_open": (frozenset({"ledger.open"}), "during"),
    "after_open": (frozenset({"ledger.open"}), "after"),
    "before_send": (SENDS, "before"),
    "during_send": (SENDS, "during"),
    "after_send": (SENDS, "after"),
    "before_close": (frozenset({"ledger.close"}), "before"),
    "during_close": (frozenset({"ledger.close"}), "during"),
    "after_close": (frozenset({"ledger.close"}), "after"),
    "after_join": (frozenset({"ledger.join"}), "after"),
    "after_renew": (frozenset({"ledger.renew"}), "after"),
    "after_claim": (frozenset({"ledger.claim"}), "after"),
    "before_clear": (frozenset({"ledger.clear"}), "before"),
    "after_clear": (frozenset({"ledger.clear"}), "after"),
    "after_lay_out": (frozenset({"ledger.add_chunks"}), "after"),
    "after_lease": (frozenset({"ledger.lease_chunk"}), "after"),
    "before_publish": (frozenset({"ledger.publish"}), "before"),
    "after_publish": (frozenset({"ledger.publish"}), "after"),
    "during_publish": (frozenset({"store.insert_absent"}), "during"),
    "before_published": (frozenset({"ledger.published"}), "before"),
    "after_published": (frozenset({"ledger.published"}), "after"),
    "during_reap": (frozenset({"ledger.reap", "ledger.bury"}), "during"),
    "before_verified": (frozenset({"ledger.save_verification"}), "before"),
    "before_phase": (frozenset({"ledger.save_phase"}), "before"),
    "after_phase": (frozenset({"ledger.save_phase"}), "after"),
    "after_register": (frozenset({"ledger.register_migration"}), "after"),
    "after_create": (frozenset({"store.create"}), "after"),
    "before_mode": (frozenset({"ledger.change_mode"}), "before"),
    "after_mode": (frozenset({"ledger.change_mode"}), "after"),
    "before_flip": (frozenset({"ledger.flip"}), "before"),
    "during_flip": (frozenset({"ledger.flip"}), "during"),
    "after_flip": (frozenset({"ledger.flip"}), "after"),
    "after_hold": (frozenset({"ledger.hold"}), "after"),
    "before_drop": (frozenset({"store.drop"}), "before"),
    "after_drop": (frozenset({"store.drop"}), "after"),
    "during_read": (frozenset({"store.search", "store.entries"}), "during"),
    "after_read": (frozenset({"store.search", "store.entries"}), "after"),
}
#: The points that an actor of each role comes by.
POINTS_OF = {
    "writer": [
        "before_open",
        "during_open",
        "after_open",
        "before_send",
        "during_send",
        "after_send",
        "before_close",
        "during_close",
        "after_close",
        "after_join",
        "after_renew",
    ],
    "searcher": ["after_join", "after_renew", "during_read", "during_read", "after_read"],
    "worker": [
        "after_claim",
        "before_clear",
        "after_clear",
        "before_send",
        "during_send",
        "after_send",
        "after_lay_out",
        "after_lease",
        "before_publish",
        "after_publish",
        "during_publish",
        "before_published",
        "after_published",
        "during_reap",
        "before_verified",
        "before_phase",
        "after_phase",
        "after_create",
        "before_mode",
        "after_mode",
        "after_join",
        "after_renew",
    ],
    "coordinator": [
        "after_register",
        "before_mode",
        "after_mode",
        "before_flip",
        "during_flip",
        "after_flip",
        "after_hold",
        "before_drop",
        "after_drop",
        "before_phase",
        "after_phase",
        "after_claim",
        "after_send",
        "after_join",
    ],
}

#: Where the wall clock jumps to, in hours from where it should be.
_JUMPS_H = (-30_000, -48, -1, 0, 0, 1, 48, 30_000)

#: What a process is doing that must not be put off beyond the fence horizon: nothing; a send that nobody would take
#: back when it lands late; a send of a journaled write, which its sender takes back by itself when it lives.
AT_EASE, SENDING, SENDING_JOURNALED = 0, 1, 2


class Status:
    """A few bytes that whoever stops a process can read while it stands still."""

    def __init__(self, path: Path) -> None:
        """Use a file of two bytes: what the process does, and the low byte of how many calls of its own are over."""
        with path.open("r+b") as file:
            self._bytes = mmap.mmap(file.fileno(), 2)
        self._thread = threading.get_ident()
        self._journaled = False
        self._elsewhere = False
        self.doing = AT_EASE

    @staticmethod
    def prepare(path: Path) -> None:
        path.write_bytes(b"\0\0")

    @property
    def doing(self) -> int:
        return self._bytes[0]

    @doing.setter
    def doing(self, value: int) -> None:
        self._bytes[0] = value

    def over(self) -> None:
        """Count a call that is over."""
        self._journaled = False
        self._bytes[0] = AT_EASE
        self._bytes[1] = (self._bytes[1] + 1) % 256

    def looked_at_clock(self) -> None:
        """A send may follow: each is preceded by a look at the clock that says whether it may still be made."""
        if threading.get_ident() == self._thread and not self._elsewhere:
            self._bytes[0] = SENDING_JOURNALED if self._journaled else SENDING

    def before(self, call: str) -> None:
        if threading.get_ident() == self._thread and call not in SENDS:
            self._elsewhere, self._bytes[0] = True, AT_EASE

    def after(self, call: str) -> None:
        if threading.get_ident() != self._thread:
            return
        self._elsewhere, self._bytes[0] = False, AT_EASE
        self._journaled = call == "ledger.open" or (self._journaled and call != "ledger.close")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failpoint:
    """What happens when a named point is reached.

    Attributes:
        name: a key of `FAILPOINTS`.
        skip: how often it passes first.
        number: the signal that the process sends itself.
        delay_s: how long after the call began, for a point `during` it.
    """

    name: str
    skip: int
    number: int
    delay_s: float = 0.0


class Point(Faults):
    """Stands around the back-ends of one process, and ends or stops it where it is told to."""

    def __init__(self, status: Status, failpoint: Failpoint | None, on_hit: Callable[[str], None]) -> None:
        super().__init__()
        self._status = status
        self._failpoint = failpoint
        self._on_hit = on_hit
        self._left = failpoint.skip if failpoint else 0

    def around(self, name: str, call: Callable[[], _T]) -> _T:
        self._status.before(name)
        self._come_by(name, When.BEFORE.value)
        self._come_by(name, "during")
        try:
            answer = call()
        finally:
            self._status.after(name)
        self._come_by(name, When.AFTER.value)
        return answer

    def _come_by(self, call: str, when: str) -> None:
        point = self._failpoint
        if point is None:
            return
        calls, side = FAILPOINTS[point.name]
        if call not in calls or when != side:
            return
        self._left -= 1
        if self._left >= 0:
            return
        self._failpoint = None
        self._on_hit(point.name)
        if side == "during":
            timer = threading.Timer(point.delay_s, os.kill, (os.getpid(), point.number))
            timer.daemon = True
            timer.start()
        else:
            os.kill(os.getpid(), point.number)


class JumpingClock(SystemClock):
    """A machine whose wall clock somebody sets, again and again; what counts from its start goes on as ever."""

    def __init__(self, status: Status, chance: random.Random, *, jumps: bool) -> None:
        super().__init__()
        self._status, self._chance, self._jumps = status, chance, jumps
        self._ahead = timedelta()

    def monotonic(self) -> float:
        self._status.looked_at_clock()
        return super().monotonic()

    def now(self) -> datetime:
        if self._jumps and self._chance.random() < 0.1:
            self._ahead = timedelta(hours=self._chance.choice(_JUMPS_H))
        return super().now() + self._ahead


class TorturedPlugins(Plugins):
    """The adapters of the configuration, with failpoints around them and short waits for locks."""

    def __init__(self, config: Config, clock: SystemClock, faults: Faults, *, busy_s: float, write_s: float) -> None:
        super().__init__(config, clock)
        self._faults = faults
        self._busy_s, self._write_s = busy_s, write_s
        self._surrounded: dict[str, VectorStore] = {}

    def ledger(self) -> Ledger:
        return self._faults.ledger(super().ledger())

    def store(self, name: str) -> VectorStore:
        if name not in self._surrounded:
            store = super().store(name)
            if store.capabilities.name == "pgvector":
                from undrift.adapters.stores.pgvector import session

                session._WRITE_S = self._write_s  # type: ignore[assignment]
            self._surrounded[name] = self._faults.store(store)
        return self._surrounded[name]

    def _database(self, path: Path) -> Any:
        # The longest wait for a lock belongs to the fence horizon, which is short here.
        if path not in self._databases:
            self._databases[path] = Database(path, busy_s=self._busy_s)
        return self._databases[path]
