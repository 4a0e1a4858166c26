"""A program that is called with JSON on its standard input; no shell is involved unless the user names one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from undrift.ports.hook import HookOutcome

#: So much of what it says is kept, from its end.
_KEPT = 2000


class CommandHook:
    """Calls a program in the configuration's folder and takes its exit code for an answer: 0 agrees."""

    def __init__(self, words: Sequence[str], *, folder: Path, environment: Mapping[str, str], timeout_s: float) -> None:
        """Name the program.

        Args:
            words: the program and its arguments; one that has a slash in its name is found from the folder.
            folder: where it runs.
            environment: its environment; `UNDRIFT_HOOK_…` is added.
            timeout_s: it is killed after so long, with what it has begun.
        """
        self._words = list(words)
        self._folder = folder
        self._environment = dict(environment)
        self._timeout_s = timeout_s

    @property
    def name(self) -> str:
        """The program's name."""
        return self._words[0]

    def call(self, context: Mapping[str, Any]) -> HookOutcome:
        """Run the program."""
        program = str(self._folder / self.name) if "/" in self.name else self.name
        plain = {key: str(value) for key, value in context.items() if isinstance(value, str | int | float)}
        told = {f"UNDRIFT_HOOK_{key.upper()}": value for key, value in plain.items()}
        try:
            process = subprocess.Popen(
                [program, *self._words[1:]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self._folder,
                env={**self._environment, **told},
                # A group of its own, so that what it has begun can be ended with it, and Ctrl-C is for us alone.
                start_new_session=True,
            )
        except OSError as error:
            return HookOutcome(agreed=False, said=f"it cannot be run: {error.strerror or error}")
        try:
            out, err = process.communicate(json.dumps(context).encode(), timeout=self._timeout_s)
        except subprocess.TimeoutExpired:
            _end(process)
            return HookOutcome(agreed=False, said=f"it did not end within {self._timeout_s:g} s, and was killed")
        except BaseException:
            _end(process)
            raise
        said = "\n".join(filter(None, (_text(err), _text(out))))
        if process.returncode == 0:
            return HookOutcome(agreed=True, said=said)
        how = f"exit code {process.returncode}" if process.returncode > 0 else f"killed by signal {-process.returncode}"
        return HookOutcome(agreed=False, said=said or how)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _text(output: bytes) -> str:
    return output.decode("utf-8", "replace").strip()[-_KEPT:]
