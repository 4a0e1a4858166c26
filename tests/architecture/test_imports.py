"""Imports point downwards, nothing optional is needed to import, and nothing happens when it is."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.house import ROOT, SRC, imported_names, is_in, modules, project, source

CONTRACTS = project()["tool"]["importlinter"]["contracts"]
LAYERS = next(contract["layers"] for contract in CONTRACTS if contract["type"] == "layers")
#: Rooms from the top to the bottom, without the parentheses of those that may be missing.
ROOMS = [room for layer in LAYERS for room in re.split(r"\W+", layer) if room]
REQUIRED = [room for layer in LAYERS for room in map(str.strip, layer.split("|")) if not room.startswith("(")]

#: An import that breaks each contract: the contract, the module that commits it, and the import.
PLANTED = [
    ("layers", "domain/space.py", "from undrift.flow import embed"),
    ("adapters-know-ports-only", "adapters/stores/memory.py", "import undrift.quality.ranking"),
    ("adapters-independent", "adapters/embedders/hashing.py", "from undrift.adapters.ledgers import sqlite"),
    ("pure-domain", "domain/plan.py", "from time import time"),
    ("testing-is-a-leaf", "control.py", "from undrift.testing import faults"),
]

#: What `domain` and `ports` may import besides the standard library and undrift itself.
PURE_LIBRARIES = {"numpy"}


def lint(where: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of the project file on the package that lies under a folder."""
    command = Path(sysconfig.get_path("scripts")) / "lint-imports"
    return subprocess.run(
        [command, "--no-logo", "--no-cache", "--config", str(ROOT / "pyproject.toml")],
        cwd=where,
        env={**os.environ, "PYTHONPATH": str(where), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )


def build_stub_house(where: Path) -> None:
    """Lay out every room as a package with nothing in it, and the modules that offences are planted in."""
    rooms = [f"{room}/__init__.py" for room in (*ROOMS, "testing")]
    kinds = [f"adapters/{kind}/__init__.py" for kind in ("stores", "embedders", "ledgers")]
    things = ["flow/embed.py", "quality/ranking.py", "adapters/ledgers/sqlite.py", "testing/faults.py"]
    homes = [module.replace("control.py", "control/__init__.py") for _, module, _ in PLANTED]
    for name in ("__init__.py", *rooms, *kinds, *things, *homes):
        file = where / "undrift" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def verdicts(output: str) -> dict[str, str]:
    """What was said of each contract, by its id."""
    ids = {contract["name"]: contract["id"] for contract in CONTRACTS}
    return {ids[name]: verdict for name, verdict in re.findall(r"^(.+?) (KEPT|BROKEN)$", output, re.MULTILINE)}


def libraries(text: str) -> Iterator[str]:
    """The packages a module imports that are neither the standard library's nor undrift."""
    for _, origin, _ in imported_names(ast.parse(text)):
        root = origin.partition(".")[0]
        if root != "undrift" and root not in sys.stdlib_module_names:
            yield root


def test_every_contract_is_kept() -> None:
    missing = [room for room in REQUIRED if not any(is_in(module, room) for module in modules())]
    if missing:
        pytest.skip(f"the house is not finished: {', '.join(missing)}")

    result = lint(SRC)

    assert result.returncode == 0, result.stdout + result.stderr
    assert verdicts(result.stdout) == {contract["id"]: "KEPT" for contract in CONTRACTS}


def test_every_contract_can_be_broken(tmp_path: Path) -> None:
    """A contract whose modules were renamed would be kept by anything."""
    build_stub_house(tmp_path)
    innocent = lint(tmp_path)
    for _, module, line in PLANTED:
        home = tmp_path / "undrift" / module.replace("control.py", "control/__init__.py")
        home.write_text(line + "\n")

    guilty = lint(tmp_path)

    assert innocent.returncode == 0, innocent.stdout + innocent.stderr
    assert guilty.returncode == 1, guilty.stdout + guilty.stderr
    assert verdicts(guilty.stdout) == {contract["id"]: "BROKEN" for contract in CONTRACTS}
    assert {contract for contract, _, _ in PLANTED} == {contract["id"] for contract in CONTRACTS}


def test_a_room_that_is_not_in_the_plan_is_refused(tmp_path: Path) -> None:
    build_stub_house(tmp_path)
    (tmp_path / "undrift" / "utils.py").touch()

    result = lint(tmp_path)

    assert result.returncode == 1
    assert "undrift.utils" in result.stdout


@pytest.mark.parametrize("room", ["domain", "ports"])
def test_a_pure_room_imports_only_numpy_besides_the_standard_library(room: str) -> None:
    offences = {
        module.as_posix(): foreign
        for module in modules()
        if is_in(module, room) and (foreign := set(libraries(source(module))) - PURE_LIBRARIES)
    }

    assert not offences


def test_a_foreign_library_is_seen() -> None:
    text = (
        "import numpy as np\nimport json\nfrom undrift.errors import UsageError\nfrom attrs import define\nimport yaml"
    )

    assert set(libraries(text)) - PURE_LIBRARIES == {"attrs", "yaml"}


IMPORT_EVERYTHING = """
import sys, threading
for name in {optional!r}:
    sys.modules[name] = None
before = threading.active_count()
for name in {names!r}:
    __import__(name)
assert threading.active_count() == before, "a thread was started by an import"
"""


def test_every_module_imports_without_optional_libraries_and_in_silence() -> None:
    """The core is installed without extras; what is missing is told when it is needed, not at start-up."""
    optional = project()["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-module-level-imports"]
    names = [
        ".".join(("undrift", *module.with_suffix("").parts)).removesuffix(".__init__")
        for module in modules()
        if module.name != "__main__.py"
    ]

    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_EVERYTHING.format(optional=optional, names=names)],
        env={**os.environ, "PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert names
