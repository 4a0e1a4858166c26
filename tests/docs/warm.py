"""The command `undrift` without its start: a process that has imported everything forks for each run.

Pages run the command dozens of times, and nine tenths of that would be imports. Each run is a process of its own all
the same, with its own environment, folder and exit code. The tutorial and `tests/acceptance` run the command as it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import ROOT


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a run left."""

    code: int
    out: str
    err: str


class WarmCommand:
    """Runs the command, one at a time."""

    def __init__(self, folder: Path) -> None:
        """Start the process; outputs go through files in a folder."""
        self._out, self._err = folder / "out", folder / "err"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.docs.warm"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, words: list[str], *, folder: Path, environment: dict[str, str]) -> Done:
        """Run `undrift` with these words in a folder."""
        asked, answered = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answered is not None
        request = {"words": words, "folder": str(folder), "environment": environment}
        asked.write(json.dumps({**request, "out": str(self._out), "err": str(self._err)}) + "\n")
        asked.flush()
        code = int(answered.readline())
        return Done(code=code, out=self._out.read_text(encoding="utf-8"), err=self._err.read_text(encoding="utf-8"))

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def serve() -> None:
    """Fork for each request, and answer with the exit code."""
    from undrift.cli.main import main

    for module in ("undrift.control", "undrift.adapters.stores.sqlite_vec", "undrift.adapters.embedders.hashing"):
        __import__(module)
    try:
        # What the model of the starter configuration loads at its first text.
        __import__("safetensors")
        __import__("tokenizers")
    except ImportError:
        pass
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            _become(request)
            main(request["words"])
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _become(request: dict[str, object]) -> None:
    """Take over the folder, the environment and the streams of a run."""
    os.chdir(str(request["folder"]))
    environment = request["environment"]
    assert isinstance(environment, dict)
    os.environ.clear()
    os.environ.update(environment)
    streams = ((os.devnull, os.O_RDONLY, 0), (request["out"], _NEW, 1), (request["err"], _NEW, 2))
    for path, flags, descriptor in streams:
        opened = os.open(str(path), flags, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)


_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC

if __name__ == "__main__":
    serve()
