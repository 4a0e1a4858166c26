"""The house as the tests of its rules see it: the modules of the product, and its project file."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"
PACKAGE = SRC / "undrift"


def modules() -> list[Path]:
    """Every module of the product, relative to the package, sorted."""
    return sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def source(module: Path) -> str:
    return (PACKAGE / module).read_text(encoding="utf-8")


def is_in(module: Path, room: str) -> bool:
    """Whether a module is that room (`flow/embed`) or one of its parts (`flow/embed/batch`)."""
    name = module.with_suffix("").as_posix().removesuffix("/__init__")
    return name == room or name.startswith(room + "/")


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def imported_names(tree: ast.AST) -> Iterator[tuple[str, str, int]]:
    """Each import of a module: the name it gets there, what it is called where it comes from, and the line."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    local = alias.asname or alias.name.partition(".")[0]
                    yield local, alias.name if alias.asname else local, node.lineno
            case ast.ImportFrom(module=str(origin), names=names):
                for alias in names:
                    yield alias.asname or alias.name, f"{origin}.{alias.name}", node.lineno
