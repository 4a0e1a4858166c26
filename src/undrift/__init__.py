"""Change the embedding model behind a live vector search without downtime, and with a way back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from undrift.domain.record import Document as Document
from undrift.domain.record import Hit as Hit
from undrift.domain.record import Hits as Hits
from undrift.domain.record import Receipt as Receipt
from undrift.release import VERSION

if TYPE_CHECKING:
    from pathlib import Path

    from undrift.control import ControlPlane as ControlPlane
    from undrift.flow.alias import Alias as Alias

__version__ = VERSION
__all__ = ["Alias", "ControlPlane", "Document", "Hit", "Hits", "Receipt", "open"]


def open(path: str | Path | None = None) -> ControlPlane:
    """Open what a configuration file names; close it at the end, or use it in a `with` block.

    Args:
        path: the file; by default `$UNDRIFT_CONFIG`, or `undrift.toml` here.

    Returns:
        The control plane; `.alias(name)` gives what an application reads and writes.

    Raises:
        BadConfig: the file is missing or wrong.
    """
    from undrift.control import open_plane

    return open_plane(path)


def __getattr__(name: str) -> object:
    """Import the larger parts when they are asked for, so that `import undrift` stays quick."""
    if name == "Alias":
        from undrift.flow.alias import Alias

        return Alias
    if name == "ControlPlane":
        from undrift.control import ControlPlane

        return ControlPlane
    raise AttributeError(f"module 'undrift' has no attribute {name!r}")
