"""A documented name of a Python library, as the demo's corpus is made of."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Literal, TypedDict

Kind = Literal["module", "class", "function", "method"]

# Shorter docstrings ("Return x.", "Constructor.") say nothing that a question could find.
SHORTEST_DOCSTRING = 20


class LibraryDocument(TypedDict):
    """One documented name of the standard library, in the shape of a line that `undrift put` takes."""

    id: str
    text: str
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Documented:
    """A name of a module and its docstring; the name is relative to the module, and empty for the module itself."""

    name: str = ""
    kind: Kind
    signature: str = ""
    docstring: str

    def document(self, module: str) -> LibraryDocument:
        """Return this as a document of `module`; what is built in is known without its module ("str.split")."""
        prefix = "" if module == "builtins" else f"{module}."
        identifier = f"{prefix}{self.name}" if self.name else module
        return {
            "id": identifier,
            "text": f"{self.kind} {identifier}{self.signature}\n\n{self.docstring}",
            "metadata": {"module": module, "kind": self.kind},
        }


def cleaned(docstring: object) -> str:
    """Return a docstring without its indentation; empty when it says next to nothing."""
    text = inspect.cleandoc(docstring).strip() if isinstance(docstring, str) else ""
    return text if len(text) >= SHORTEST_DOCSTRING else ""
