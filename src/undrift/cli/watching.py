"""`status --watch`: the status again and again, until there is nothing more to see."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from undrift.cli import reports
from undrift.cli.following import Pace, reading

if TYPE_CHECKING:
    from undrift.cli.session import Session
    from undrift.control import ControlPlane

#: How often is looked, in seconds.
EVERY_S = 1.0
#: Gates ask the model and the store, so they are looked at only so often while nothing else has changed. In seconds.
GATES_EVERY_S = 30.0
#: Phases in which nothing will change by itself.
_FINAL = frozenset({"idle", "done", "aborted"})


def watch(session: Session, plane: ControlPlane, alias: str) -> None:
    """Show the status of an alias until its migration is over.

    At a terminal it replaces itself; elsewhere lines tell what has changed, with `--json` as documents.
    """
    pace, looks, shown = Pace(), Looks(plane, alias), None
    paces: dict[str, Pace] = defaultdict(Pace)
    with session.screen.live() as replace:
        ticker = session.screen.ticker()
        while True:
            value = looks.again()
            now = plane.clock.monotonic()
            rate = pace.add(now, value["progress"]["done"])
            if session.as_json:
                if value != shown:
                    session.screen.json(value, indent=None)
                shown = value
            elif replace is not None:
                each = [
                    {**one, "rate_per_s": paces[one["client"]].add(now, one["documents"])} for one in value["workers"]
                ]
                replace(reports.status({**value, "workers": each}))
            else:
                ticker.show(reading(value, rate))
            if value["phase"] in _FINAL:
                return
            plane.clock.sleep(EVERY_S)


class Looks:
    """The status of an alias, whose costly part is looked at only now and then."""

    def __init__(self, plane: ControlPlane, alias: str) -> None:
        """Look at nothing yet."""
        self._plane = plane
        self._alias = alias
        self._whole: dict[str, Any] = {}
        self._next = 0.0

    def again(self) -> dict[str, Any]:
        """Return the status as it is now, its gates as they were a short while ago."""
        now = self._plane.clock.monotonic()
        glance = self._plane.glance(self._alias)
        if now >= self._next or any(glance[key] != self._whole[key] for key in ("phase", "run_status")):
            self._whole = self._plane.status(self._alias)
            self._next = now + GATES_EVERY_S
        elif self._whole["gates"]:
            # What is waited for depends on the gates, at which the glance did not look.
            del glance["waiting_for"]
        self._whole = {**self._whole, **glance}
        return self._whole
