"""The control plane: every verb there is, as a method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from undrift.config import load
from undrift.control.alerting import Alerting
from undrift.control.crew import Crew
from undrift.control.drifting import Drifting
from undrift.control.ends import PROVIDER, look_at_ends, look_at_what_was_said
from undrift.control.equating import Equating
from undrift.control.lookout import LookOut
from undrift.control.promoting import Promoting
from undrift.control.selftest import Selftest
from undrift.domain.sunset import CHECK as SUNSET
from undrift.domain.wording import plural
from undrift.errors import NotifierUnavailable
from undrift.ports.runtime import Clock


class ControlPlane(Drifting, Crew, Selftest, Promoting, Equating, Alerting):
    """Everything undrift can do, on one configuration.

    It is a client of the ledger like any application: it has a lease, which `close` ends.
    """

    def look_out(self) -> LookOut:
        """Return the look-out, which looks at what is due whenever it is asked to.

        Raises:
            BadConfig: somebody who is to be told has no address or no secret; better now than with the first alert.
            MissingExtra: what one of them needs is not installed.
        """
        assert self.receivers, "the log is always there"
        return LookOut(self)

    def notify(self, *, dry_run: bool = False) -> dict[str, Any]:
        """Look at the ends of models and at what providers said, and tell what has to be told and was not.

        Args:
            dry_run: only say what would be told; nothing is remembered.

        Raises:
            NotifierUnavailable: a receiver did not take an alert; the others did, and it is told again the next time.
        """
        if dry_run:
            tellings, told = self.would_tell([*look_at_ends(self), *look_at_what_was_said(self)]), []
        else:
            done = self.look_out().round([SUNSET, PROVIDER], anyway=True)
            tellings, told = done.tellings, [receiver.name for receiver in self.receivers]
            if done.problems:
                raise NotifierUnavailable(
                    f"{len(done.problems)} of {plural(len(told), 'receiver')} did not take an alert",
                    "\n".join(done.problems.values()),
                    "they are told again the next time",
                )
        return {"alerts": tellings, "told": told, "next_steps": ["undrift alert list", "undrift catalogue sunsets"]}


def open_plane(path: str | Path | None = None, *, role: str = "app", clock: Clock | None = None) -> ControlPlane:
    """Open what a configuration file names.

    Args:
        path: the file; by default `$UNDRIFT_CONFIG`, or `undrift.toml` here.
        role: what this process is, for those who look at the list of clients.
        clock: the source of time; the machine's own by default.

    Raises:
        BadConfig: the file is missing or wrong.
    """
    return ControlPlane(load(path), role=role, clock=clock)
