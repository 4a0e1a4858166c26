"""One method per verb; what the command line, the library and programs call."""

from __future__ import annotations

from undrift.control.plane import ControlPlane, open_plane

__all__ = ["ControlPlane", "open_plane"]
