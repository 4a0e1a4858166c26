"""A look-out of two processes, what it looks at, and who is told."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from undrift.config import parse
from undrift.control import ControlPlane
from undrift.control.lookout import LookOut
from undrift.domain.alert import Policy, Stage
from undrift.domain.finding import Finding, Severity, State
from undrift.domain.telling import Telling
from undrift.errors import NotifierUnavailable
from undrift.testing.clock import VirtualClock
from undrift.watch.check import Check

HOUR = 3600.0
SETTINGS: dict[str, Any] = {"ledger": "sqlite:///undrift.db", "stores": {"main": {"url": "sqlite-vec:./v.db"}}}


class Receiver:
    """A receiver that takes tellings, unless it is down."""

    again_s: float | None = None
    hears_acknowledged = False

    def __init__(self, name: str = "here") -> None:
        self.name = name
        self.down = False
        self.asked = 0
        self.taken: list[tuple[str, str]] = []

    def send(self, telling: Telling) -> None:
        self.asked += 1
        if self.down:
            raise NotifierUnavailable(f"the {self.name} did not take an alert", "HTTP 503")
        self.taken.append((telling.event.value, telling.alert.key))


class World:
    """What a check looks at, two processes that look, and who is told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = VirtualClock()
        self.states: dict[str, State] = {"m": State.GOOD}
        self.looks = 0
        self.raising: Exception | None = None
        self.during: Callable[[], None] = lambda: None
        self.receiver = Receiver()
        self.planes = [self.plane(), self.plane()]

    def plane(self, **settings: Any) -> ControlPlane:
        config = parse({**SETTINGS, **settings}, self.folder / "undrift.toml")
        plane = ControlPlane(config, role="watch", clock=self.clock, heartbeat=False)
        plane.__dict__["receivers"] = [self.receiver]
        return plane

    def look(self, _: ControlPlane) -> Iterable[Finding]:
        self.looks += 1
        self.during()
        if self.raising is not None:
            raise self.raising
        now = self.clock.now()
        for subject, state in self.states.items():
            yield Finding(
                check="trial",
                subject=subject,
                state=state,
                severity=Severity.ERROR,
                moment=now,
                words=f"{subject} is {state.value}",
            )

    def lookout(self, process: int = 0, **values: Any) -> LookOut:
        given: dict[str, Any] = {"every_s": HOUR, "policy": Policy(), "confirm_s": None, **values}
        check: Check[ControlPlane] = Check(name="trial", about="changes", look=self.look, **given)
        return LookOut(self.planes[process], checks=[check], chance=random.Random(7))

    def stage(self, key: str = "trial/m") -> Stage | None:
        return next((alert.stage for alert in self.planes[0].book.alerts() if alert.key == key), None)
