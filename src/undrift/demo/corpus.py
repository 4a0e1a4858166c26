"""The demo's corpus: the documentation of the Python standard library as it is installed on this machine."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from undrift.demo.compiled import compiled_documents
from undrift.demo.docstrings import LibraryDocument
from undrift.demo.parsed import parsed_documents
from undrift.errors import BadArgument


def standard_library() -> Iterator[LibraryDocument]:
    """Yield the documentation of the installed Python standard library, one document for each documented public name.

    The Python sources are parsed and never executed; only a fixed list of compiled modules is imported.

    Yields:
        Documents in ascending order of their unique id, the dotted name ("json.loads", "str.split"); the text is the
        name with its signature, an empty line, and the docstring.

    Raises:
        BadArgument: This Python was installed without the sources of its standard library.
    """
    root = Path(sysconfig.get_path("stdlib"))
    parsed = {document["id"]: document for document in parsed_documents(root)} if root.is_dir() else {}
    if not parsed:
        raise BadArgument(
            "the demo's corpus is missing: this Python came without the sources of its standard library",
            detail=f"there are none in {root}",
            hint="undrift demo --corpus FILE.jsonl",
        )
    compiled = {document["id"]: document for document in compiled_documents()}
    documents = compiled | parsed
    for identifier in sorted(documents):
        yield documents[identifier]


def golden_files() -> tuple[Traversable, Traversable]:
    """Return the demo's golden questions (JSON Lines: id, text) and their judgements (query_id, doc_id, relevance)."""
    folder = resources.files(__package__)
    return folder / "questions.jsonl", folder / "judgements.tsv"
