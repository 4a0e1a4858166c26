"""The control plane: every verb there is, as a method."""

from __future__ import annotations

from pathlib import Path

from undrift.config import load
from undrift.control.alerting import Alerting
from undrift.control.auditing import Auditing
from undrift.control.crew import Crew
from undrift.control.equating import Equating
from undrift.control.evidence import Evidence
from undrift.control.selftest import Selftest
from undrift.ports.runtime import Clock


class ControlPlane(Auditing, Crew, Selftest, Evidence, Equating, Alerting):
    """Everything undrift can do, on one configuration.

    It is a client of the ledger like any application: it has a lease, which `close` ends.
    """


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
