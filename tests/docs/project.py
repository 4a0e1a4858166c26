"""A folder in which the blocks of one page are run: a shell with the command `undrift`, and a Python interpreter."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import undrift
from tests.docs.database import PageDatabase
from tests.docs.output import difference
from tests.docs.pages import ROOT, Block, blocks
from tests.docs.settings import STARTER
from tests.docs.warm import Done, WarmCommand
from undrift.control import open_plane
from undrift.domain.migration import Phase

#: Commands that a page may run; what is not among them needs a reason why it is not run.
ALLOWED = frozenset({"undrift", "python", "cat", "head", "grep", "echo", "curl"})
PATIENCE_S = 120
#: Where a server listens as it comes; on the machine of a test that port may be taken.
PORT = "8750"
#: What only a shell understands.
SHELL = frozenset("|<>$&;")
#: Nobody waits for a poll of a second in a test.
QUICK = "\n[timing]\npoll_s = 0.05\n"
DOCUMENTS = (
    ("refund", "A refund reaches the customer's account within fourteen days.", "billing"),
    ("invoice", "Invoices are sent by e-mail on the first day of the month.", "billing"),
    ("password", "To reset your password, open the sign-in page and choose 'forgotten'.", "accounts"),
    ("two-factor", "Two-factor authentication asks for a code from your telephone.", "accounts"),
    ("delivery", "Parcels arrive two to four working days after the order.", "shipping"),
    ("return", "Send the parcel back with the label that came with it.", "shipping"),
)


def documents() -> str:
    """Return the documents of the tutorial, as JSON Lines."""
    rows = [{"id": id, "text": text, "metadata": {"team": team}} for id, text, team in DOCUMENTS]
    return "".join(json.dumps(row) + "\n" for row in rows)


def _nothing(_: Path, _ledger: str | None = None, _store: str | None = None) -> None:
    """Leave the folder empty."""


def _collection(folder: Path, ledger: str | None = None, store: str | None = None) -> None:
    path = folder / "undrift.toml"
    text = STARTER.read_text(encoding="utf-8").replace("sqlite-vec:./vectors.db", store or "sqlite-vec:./vectors.db")
    path.write_text(text.replace("sqlite:///undrift.db", ledger or "sqlite:///undrift.db") + QUICK, encoding="utf-8")
    (folder / "documents.jsonl").write_text(documents(), encoding="utf-8")
    with undrift.open(path) as plane:
        plane.put("kb", folder / "documents.jsonl")


def _ready(folder: Path, ledger: str | None = None, store: str | None = None) -> None:
    _collection(folder, ledger, store)
    with open_plane(folder / "undrift.toml", role="start") as plane:
        plane.register("kb", "new")
        plane.work("kb", lambda migration: migration is not None and migration.phase is Phase.READY)


def _with_another_store(folder: Path, ledger: str | None = None, store: str | None = None) -> None:
    _collection(folder, ledger, store)
    path = folder / "undrift.toml"
    text = path.read_text(encoding="utf-8") + '\n[stores.archive]\nurl = "sqlite-vec:./archive.db"\n'
    path.write_text(text, encoding="utf-8")


#: What a page may say behind `starts from:`.
STARTING_POINTS: dict[str, Callable[..., None]] = {
    "": _nothing,
    "a collection of six documents": _collection,
    "a collection of six documents, and another store": _with_another_store,
    "a migration that is ready": _ready,
}
#: A page whose starting point ends so has its ledger in a database of its own, and is skipped where there is no server.
IN_POSTGRES = ", with its ledger in PostgreSQL"
#: The same with the vectors there too.
ALL_IN_POSTGRES = ", all of it in PostgreSQL"


class Project:
    """The folder of one page."""

    def __init__(
        self, folder: Path, tools: Path, warm: WarmCommand | None, database: PageDatabase | None = None
    ) -> None:
        """Use a folder.

        Args:
            folder: where the page's files are.
            tools: holds the commands that come first on the path.
            warm: runs plain commands quickly.
            database: runs blocks of SQL.
        """
        self._folder = folder
        self._warm = warm
        self._database = database
        self._environment = {
            "PATH": f"{tools}:/usr/bin:/bin",
            "HOME": str(folder),
            "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "COLUMNS": "200",
            "LC_ALL": "C.UTF-8",
            # Pages that name a variable for a key show how it is named, and not what is in it.
            **dict.fromkeys(("COMPANY_KEY", "MONGODB_PASSWORD"), "secret"),
            **(database.environment if database else {}),
        }
        self._port = _free_port()
        self._running: list[subprocess.Popen[str]] = []
        self._interpreter: subprocess.Popen[str] | None = None
        self._printed = ""

    def run_all(self, page: Path) -> None:
        """Do what every block of a page says, in order."""
        for block in blocks(page):
            if block.is_run:
                self.run(block)

    def run(self, block: Block) -> None:
        """Do what a block says: run it, compare it, parse it, or write it into a file."""
        if name := block.notes.get("file"):
            (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self._folder / name).write_text(block.text, encoding="utf-8")
            if name.endswith(".py"):
                return
        match block.language:
            case "console" | "sh":
                self._commands(block)
            case "python":
                self._python(block)
            case "sql":
                assert self._database is not None, f"{block.where}: SQL on a page that starts from no database"
                self._printed = self._database.run(block)
            case "toml" if name in (None, "undrift.toml"):
                self._settings(block)
            case "toml":
                tomllib.loads(block.text)
            case "json":
                json.loads(block.text)
            case "jsonl":
                for line in block.text.splitlines():
                    json.loads(line)
            case "text" if "prints" in block.notes:
                assert not difference(block.text, self._printed, ""), f"{block.where}: {self._printed}"

    def close(self) -> None:
        """End the interpreter and what runs in the background, and drop the database."""
        for process in self._running:
            process.terminate()
            process.communicate(timeout=PATIENCE_S)
        if self._interpreter is not None:
            self._interpreter.kill()
            self._interpreter.communicate()
        if self._database is not None:
            self._database.close()

    def _begin(self, block: Block) -> None:
        """Start the command of a block, which goes on to the end of the page, and wait for what it says."""
        ((command, shown),) = _commands(block)
        known = {"undrift serve": ["--port", self._port], f"undrift watch --health 127.0.0.1:{PORT}": []}
        assert command in known, f"{block.where}: nobody knows how to run `{command}` in the background"
        process = subprocess.Popen(
            [*command.replace(PORT, self._port).split(), *known[command]],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._running.append(process)
        assert process.stdout is not None
        wrong = difference(shown, process.stdout.readline().replace(self._port, PORT), "")
        assert not wrong, f"{block.where}: $ {command}\n{wrong}"

    def _commands(self, block: Block) -> None:
        if "in background" in block.notes:
            self._begin(block)
            return
        last = 0
        for command, shown in _commands(block):
            if command == "echo $?":
                assert shown.strip() == str(last), f"{block.where}: the exit code is {last}"
                last = 0
                continue
            assert last == 0, f"{block.where}: exit code {last}, and the page does not show it"
            assert command.split()[0] in ALLOWED, f"{block.where}: `{command}` needs a reason why it is not run"
            done = self._run(command)
            last = done.code
            wrong = "" if block.language == "sh" else difference(shown, done.out, done.err)
            assert not wrong, f"{block.where}: $ {command}\n{wrong}\n--\n{done.out}--\n{done.err}"
            assert last == 0 or block.language == "console", f"{block.where}: $ {command}\n{done.err}"
        assert last == 0, f"{block.where}: exit code {last}, and the page does not show it"

    def _run(self, command: str) -> Done:
        """Run a command; one that needs no shell by the warm process, if there is one."""
        command = command.replace(f"127.0.0.1:{PORT}", f"127.0.0.1:{self._port}")
        words = shlex.split(command)
        if self._warm is not None and words[0] == "undrift" and not set(command) & SHELL:
            return self._warm.run(words[1:], folder=self._folder, environment=self._environment)
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return Done(code=done.returncode, out=done.stdout, err=done.stderr)

    def _python(self, block: Block) -> None:
        self._printed = self._ask(block.where, block.line, block.text, fails=block.notes.get("fails", ""))

    def _ask(self, where: str, line: int, source: str, *, fails: str = "") -> str:
        """Let the interpreter run a piece of Python, and return what it printed."""
        if self._interpreter is None:
            self._interpreter = subprocess.Popen(
                [sys.executable, "-W", "error", str(Path(__file__).with_name("interpreter.py"))],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        asked, answered = self._interpreter.stdin, self._interpreter.stdout
        assert asked is not None
        assert answered is not None
        asked.write(json.dumps({"where": where, "line": line, "source": source}) + "\n")
        asked.flush()
        answer = json.loads(answered.readline())
        if fails:
            assert fails in answer["error"], f"{where} should raise {fails}: {answer}"
        else:
            assert not answer["error"], f"{where}\n{answer['error']}"
        printed: str = answer["out"]
        return printed

    def _settings(self, block: Block) -> None:
        """Check settings in the interpreter: they may name functions that are imported."""
        self._ask(block.where, 1, f"from tests.docs.settings import check\ncheck({block.text!r})")


def _free_port() -> str:
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return str(it.getsockname()[1])


def make_tools(folder: Path) -> Path:
    """Make a folder with the commands `undrift` and `python` of this very interpreter."""
    folder.mkdir()
    installed = Path(sys.executable).with_name("undrift")
    command = f'"{installed}"' if installed.exists() else f'"{sys.executable}" -m undrift'
    for name, words in (("undrift", command), ("python", f'"{sys.executable}"')):
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
    return folder


def prepared(template: Path, folder: Path) -> Path:
    """Copy a starting point."""
    shutil.copytree(template, folder, copy_function=_copied)
    return folder


def _copied(source: str, target: str) -> str:
    return os.fspath(shutil.copyfile(source, target))


def _commands(block: Block) -> list[tuple[str, str]]:
    """Return the commands of a block, each with what the page shows of its output."""
    if block.language == "sh":
        return [(line, "") for line in block.text.splitlines() if line.strip() and not line.startswith("#")]
    parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert not parts[0].strip(), f"{block.where}: a console block begins with a command"
    found = []
    for part in parts[1:]:
        command, _, shown = part.partition("\n")
        while command.endswith("\\"):
            more, _, shown = shown.partition("\n")
            command = command[:-1] + more.strip().removeprefix("> ")
        found.append((command, shown))
    return found
