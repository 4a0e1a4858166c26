"""Docstrings of the standard library's Python sources, which are parsed and never executed."""

from __future__ import annotations

import ast
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from undrift.demo.docstrings import Documented, Kind, LibraryDocument, cleaned

# Not documentation of the library: tests, applications, build leftovers, other people's packages, generated tables.
_SKIPPED = {
    "__main__", "distutils", "encodings", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "test",
    "tests", "turtledemo",
}  # fmt: skip
# Modules that everybody knows by another name, which no import statement gives away.
_KNOWN_AS = {"_collections_abc": "collections.abc", "genericpath": "os.path", os.path.__name__: "os.path"}
# The path module of the other operating system only repeats this one's documentation.
_FOREIGN = {"ntpath", "posixpath"} - {os.path.__name__}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Module:
    """What one source file documents, what it imports from its siblings, and what its `__all__` promises."""

    documented: tuple[Documented, ...] = ()
    imports: tuple[tuple[str, str, str], ...] = ()
    promised: frozenset[str] | None = None


def parsed_documents(root: Path) -> Iterator[LibraryDocument]:
    """Yield what the Python sources of the standard library in the folder `root` document.

    A name that a package or a public module takes from elsewhere is documented where programmers import it from:
    `asyncio.gather`, not `asyncio.tasks.gather`; `collections.abc.Mapping`, not `_collections_abc.Mapping`.
    """
    library = sys.stdlib_module_names - _FOREIGN
    modules = {name: _parse(name, path) for name, path in _files(root) if name.partition(".")[0] in library}
    homes = _homes(modules)
    for name in sorted(modules):
        for documented in modules[name].documented:
            head, dot, rest = documented.name.partition(".")
            home, known = homes.get((name, head), (_KNOWN_AS.get(name, name), head))
            if _is_public(home):
                yield replace(documented, name=f"{known}{dot}{rest}").document(home)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Name every module in a folder, private ones too: a public one may only re-export what they define."""
    for path in sorted(folder.iterdir()):
        if path.stem in _SKIPPED or not path.stem.isidentifier():
            continue
        if path.is_dir():
            for name, file in _files(path):
                yield f"{path.name}.{name}".removesuffix(".__init__"), file
        elif path.suffix == ".py" and path.is_file():
            yield path.stem, path


def _parse(name: str, path: Path) -> _Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(path.read_bytes(), filename=str(path))
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    promised = _assigned(tree, "__all__")
    docstring = cleaned(ast.get_docstring(tree, clean=False) or _assigned(tree, "__doc__"))
    whole = (Documented(kind="module", docstring=docstring),) if docstring else ()
    return _Module(
        documented=(*whole, *_definitions(tree, owner="", kind="function")),
        imports=tuple(_imports(tree, package)),
        promised=frozenset(promised) if isinstance(promised, list | tuple) else None,
    )


def _definitions(scope: ast.Module | ast.ClassDef, *, owner: str, kind: Kind) -> Iterator[Documented]:
    seen = set()
    for node in _statements(scope.body):
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        name = f"{owner}{node.name}"
        docstring = cleaned(ast.get_docstring(node, clean=False))
        if docstring and name not in seen:
            # Only the first documented definition of a name counts: a property's setter must not replace its getter.
            seen.add(name)
            own = "class" if isinstance(node, ast.ClassDef) else kind
            yield Documented(name=name, kind=own, signature=_signature(node, kind), docstring=docstring)
        if isinstance(node, ast.ClassDef):
            yield from _definitions(node, owner=f"{name}.", kind="method")


def _statements(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Flatten conditional code: what a module defines under `if` or `try` is documented too."""
    for node in body:
        if isinstance(node, ast.If | ast.Try | ast.With | ast.ExceptHandler):
            yield from _statements(ast.iter_child_nodes(node))
        else:
            yield node


def _signature(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, kind: Kind) -> str:
    if isinstance(node, ast.ClassDef):
        parents = ", ".join(ast.unparse(parent) for parent in node.bases)
        return f"({parents})" if parents else ""
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    if any(decorator.endswith("property") for decorator in decorators):
        return ""
    if kind == "method" and "staticmethod" not in decorators:
        del (node.args.posonlyargs or node.args.args)[:1]
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"({ast.unparse(node.args)}){returns}"


def _assigned(tree: ast.Module, name: str) -> object:
    """Return the literal that a module assigns to one of its own names; None where it is absent or computed."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            with suppress(ValueError):
                return ast.literal_eval(node.value)
    return None


def _imports(tree: ast.Module, package: str) -> Iterator[tuple[str, str, str]]:
    """Yield (module, name, name here) for what a module takes from its own package or from a private module."""
    for node in _statements(tree.body):
        if not isinstance(node, ast.ImportFrom):
            continue
        parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        source = ".".join([*parents, *([node.module] if node.module else [])])
        if not _is_public(source) or source.startswith(f"{package}."):
            yield from ((source, alias.name, alias.asname or alias.name) for alias in node.names)


def _homes(modules: dict[str, _Module]) -> dict[tuple[str, str], tuple[str, str]]:
    """Map (module, name) to the shortest public place that re-exports it, as (module, name there)."""
    homes: dict[tuple[str, str], tuple[str, str]] = {}
    for importer in sorted(filter(_is_public, modules), key=lambda name: (name.count("."), name)):
        promised = modules[importer].promised
        for source, name, here in modules[importer].imports:
            if _is_public(source) and source.count(".") <= importer.count("."):
                continue
            for taken, known in _taken(modules.get(source, _Module()), name, here):
                if not known.startswith("_") and (promised is None or known in promised):
                    homes.setdefault((source, taken), (importer, known))
    return homes


def _taken(origin: _Module, name: str, here: str) -> list[tuple[str, str]]:
    """Return the (name, name here) pairs of one imported name, which may be the star."""
    if name != "*":
        return [(name, here)]
    heads = {documented.name.partition(".")[0] for documented in origin.documented} - {""}
    return [(head, head) for head in sorted(heads) if origin.promised is None or head in origin.promised]


def _is_public(module: str) -> bool:
    return not any(part.startswith("_") for part in module.split("."))
