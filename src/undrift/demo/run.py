"""Run the demo in a folder of its own, of which nothing is left that nobody asked to keep."""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from undrift.adapters.clock import SystemClock
from undrift.control.plane import ControlPlane
from undrift.demo.scene import STORE, set_up, settings_in
from undrift.demo.stage import Stage
from undrift.demo.story import Report, ShowProgress, Story
from undrift.errors import BadArgument
from undrift.flow.embed import EmbeddingDoor
from undrift.flow.jsonl import open_documents
from undrift.plugins import Plugins
from undrift.quality.golden import GoldenQuery, GoldenSet
from undrift.quality.ranking import measure


def run_demo(*, corpus: Path | None, keep: Path | None, report: Report, progress: ShowProgress) -> dict[str, Any]:
    """Migrate a live collection, there and back and there again, and check what became of every document.

    Everything happens in processes and files of its own; nothing is left of them, even when this is interrupted.

    Args:
        corpus: documents of the user as JSON Lines; by default the documentation of the standard library.
        keep: an empty or new folder to play in, which is kept; by default a temporary one.
        report: told one sentence at a time.
        progress: told how far a long step is.

    Returns:
        The counts, in the documented JSON shape.

    Raises:
        MissingExtra: the embedded store, the new model or the measures are not installed; nothing was started.
        BadArgument: `keep` is in use, or there are no documents.
        BackendError: a process of the demo ended by itself, or stood still.
    """
    began = time.monotonic()
    _require_extras()
    if corpus is not None:
        _require_documents(corpus)
    with _ending_cleanly(), _folder(keep) as folder:
        scene = set_up(folder, corpus)
        with ControlPlane(settings_in(folder), role="demo") as plane, Stage(folder) as stage:
            story = Story(plane=plane, stage=stage, scene=scene, report=report, progress=progress)
            result = story.tell()
    return {**result, "seconds": round(time.monotonic() - began, 1), "kept": str(folder) if keep else None}


def _require_extras() -> None:
    """Use everything optional once, so that what is missing is told before anything is begun.

    Raises:
        MissingExtra: something is not installed; the hint says how it is.
    """
    config, clock = settings_in(Path()), SystemClock()
    plugins = Plugins(config, clock)
    plugins.store(STORE)
    for name, settings in config.settings.models.items():
        EmbeddingDoor(plugins.embedder(name, settings), clock=clock).query("is it there?")
    plugins.close()
    probe = GoldenSet(name="probe", queries=(GoldenQuery(id="1", text="is it there?", relevant={"it": 1}),))
    measure(probe, {"1": [("it", 1.0)]})


def _require_documents(corpus: Path) -> None:
    """Read the user's documents once, so that a broken line is told before anything is begun.

    Raises:
        BadInputLine, BadDocument: a line cannot be taken.
        BadArgument: the file cannot be opened, or there are no documents in it.
    """
    with open_documents(corpus) as documents:
        count = sum(1 for _ in documents)
    if not count:
        raise BadArgument(f"{corpus} has no documents to migrate", hint="undrift demo")


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Give a folder to play in; a temporary one is gone afterwards."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="undrift-demo-") as folder:
            yield Path(folder)
        return
    try:
        keep.mkdir(parents=True, exist_ok=True)
        used = any(keep.iterdir())
    except OSError as error:
        raise BadArgument(f"folder {keep} cannot be used", str(error), "--keep a new folder") from error
    if used:
        detail = "the demo plays in a folder of its own"
        raise BadArgument(f"folder {keep} has files in it", detail, "--keep a new folder")
    yield keep.absolute()


@contextmanager
def _ending_cleanly() -> Iterator[None]:
    """Let SIGTERM end this process as Ctrl-C does, after its processes and its folder are gone."""
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may catch signals.
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
