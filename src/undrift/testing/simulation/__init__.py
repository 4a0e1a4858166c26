"""Seeded schedules of simulated processes over the real code, in virtual time, with faults at every call of a port."""

from __future__ import annotations

from undrift.testing.simulation.options import Options, draw
from undrift.testing.simulation.run import Report, simulate
from undrift.testing.simulation.scheduler import Hands
from undrift.testing.simulation.world import Violation

__all__ = ["Hands", "Options", "Report", "Violation", "draw", "simulate"]
