"""What a failure of SQLite means to a user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

import apsw

from undrift.errors import (
    ControlUnavailable,
    LedgerUnusable,
    StoreFull,
    StoreRejected,
    StoreUnavailable,
    StoreUnusable,
    UndriftError,
)


class Owner(Enum):
    """Whose file it is, which decides what a failure is called."""

    #: The control plane's: a failure stops what needs control.
    LEDGER = "ledger"
    #: The vectors': a failure is the store's.
    STORE = "store"


def translate(error: apsw.Error, path: Path, owner: Owner) -> UndriftError:
    """Return the error that a failure of SQLite means to a user."""
    unavailable = ControlUnavailable if owner is Owner.LEDGER else StoreUnavailable
    name = f"{owner.value} {path}"
    match error:
        case apsw.ReadOnlyError() if getattr(error, "extendedresult", 0) == apsw.SQLITE_READONLY_DBMOVED:
            return unavailable(
                f"{name} was deleted or replaced while it was in use",
                "what was being written is lost with the old file, and was not acknowledged",
                f"put the file back, then restart what uses it: ls -li {path}",
            )
        case apsw.FullError():
            full = ControlUnavailable if owner is Owner.LEDGER else StoreFull
            return full(
                f"{name} cannot grow: the disk is full", "nothing of this call was written", f"df -h {path.parent}"
            )
        case apsw.CorruptError() | apsw.NotADBError():
            unusable = LedgerUnusable if owner is Owner.LEDGER else StoreUnusable
            return unusable(
                f"{name} is damaged or not an undrift file",
                str(error),
                f"move it away and restore a backup: mv {path} {path}.broken",
            )
        case apsw.ReadOnlyError() | apsw.PermissionsError():
            kind = ControlUnavailable if owner is Owner.LEDGER else StoreRejected
            return kind(f"{name} cannot be written: it is read-only", str(error), f"ls -ld {path.parent} {path}")
        case apsw.CantOpenError():
            return unavailable(f"{name} cannot be opened", str(error), f"ls -ld {path.parent}")
        case apsw.BusyError() | apsw.LockedError():
            return unavailable(f"{name} is busy: other processes wrote for too long", str(error), "undrift doctor")
        case apsw.TooBigError() | apsw.ConstraintError() if owner is Owner.STORE:
            return StoreRejected(
                f"{name} does not take this write: {error}",
                "nothing of this call was written",
                "leave out the document that is too long or too deeply nested",
            )
        case _:
            return unavailable(f"{name} failed: {error}", type(error).__name__, "undrift doctor")


@contextmanager
def translating(path: Path, owner: Owner) -> Iterator[None]:
    """Raise the errors of undrift for those of SQLite."""
    try:
        yield
    except apsw.Error as error:
        raise translate(error, path, owner) from error
