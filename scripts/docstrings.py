"""Google-style docstrings taken apart, for the reference pages."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field

_SECTIONS = ("Args", "Attributes", "Returns", "Raises", "Yields", "Example")
_ENTRY = re.compile(r"^(?P<name>[\w.*, ]+): (?P<text>.*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Docstring:
    """What a docstring says.

    Attributes:
        text: the paragraphs before the first section.
        sections: the text of each section, by its name.
    """

    text: str
    sections: dict[str, str] = field(default_factory=dict)

    def entries(self, section: str) -> dict[str, str]:
        """Return the named entries of a section, each on one line."""
        found: dict[str, str] = {}
        name = ""
        for line in self.sections.get(section, "").splitlines():
            entry = None if line.startswith(" ") else _ENTRY.match(line)
            if entry:
                name = entry["name"]
                found[name] = entry["text"]
            elif name:
                found[name] += " " + line.strip()
        return found


def parsed(thing: object) -> Docstring:
    """Take the docstring of an object apart."""
    text: list[str] = []
    sections: dict[str, list[str]] = {}
    into = text
    for line in (inspect.getdoc(thing) or "").splitlines():
        if line.removesuffix(":") in _SECTIONS and line.endswith(":"):
            into = sections.setdefault(line.removesuffix(":"), [])
        else:
            into.append(line)
    return Docstring(
        text="\n".join(text).strip(),
        sections={name: inspect.cleandoc("\n".join(["", *lines])) for name, lines in sections.items()},
    )


def one_line(text: str) -> str:
    """Return a text as a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")
