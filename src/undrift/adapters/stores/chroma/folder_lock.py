"""Which process has a folder: Chroma in a folder answers a second one from an old state without a word."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

from undrift.errors import MissingExtra, StoreUnavailable, StoreUnusable

_FILE = "undrift.lock"


@dataclass(slots=True)
class _Held:
    descriptor: int
    owner: int
    users: int


#: The folders that this process has, which several stores of it may use together.
_held: dict[Path, _Held] = {}
_guard = threading.Lock()


def acquire(folder: Path) -> None:
    """Take a folder for this process, or use it once more; it is made when it is not there.

    Raises:
        StoreUnusable: another process has it, or it cannot be written to.
        MissingExtra: the system has no locks of files.
    """
    try:
        import fcntl
    except ImportError as error:
        raise MissingExtra(
            "Chroma in a folder cannot be kept from other processes on this system", str(error), "use chroma run"
        ) from error
    place = folder.absolute()
    with _guard:
        held = _held.get(place)
        if held is not None and held.owner == os.getpid():
            held.users += 1
            return
        if held is not None:
            # After a fork the folder is the parent's, however the child came by what it knows.
            raise _taken(place, str(held.owner))
        try:
            place.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(place / _FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnusable(f"the folder {place} of a Chroma store cannot be used", str(error)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        except BlockingIOError as error:
            who = os.pread(descriptor, 20, 0).decode(errors="replace")
            os.close(descriptor)
            raise _taken(place, who) from error
        except OSError as error:
            os.close(descriptor)
            raise StoreUnavailable(f"the folder {place} of a Chroma store cannot be locked", str(error)) from error
        _held[place] = _Held(descriptor, os.getpid(), 1)


def release(folder: Path) -> None:
    """Let go of a folder; the last one to do so leaves it to other processes."""
    place = folder.absolute()
    with _guard:
        held = _held.get(place)
        if held is None or held.owner != os.getpid():
            return
        held.users -= 1
        if not held.users:
            os.close(held.descriptor)
            del _held[place]


def _taken(place: Path, who: str) -> StoreUnusable:
    return StoreUnusable(
        f"the folder {place} of a Chroma store is in use by another process" + (f", {who}" if who else ""),
        "in a folder, Chroma shows a process what another one wrote too late or never",
        f"stop that process, or let all of them use a server: chroma run --path {place}",
    )
