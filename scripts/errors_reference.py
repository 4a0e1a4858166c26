"""Writes docs/reference/errors.md from undrift/errors.py: `python -m scripts.errors_reference`.

A test fails when the page is not what this would write.
"""

from __future__ import annotations

from pathlib import Path

from scripts.docstrings import one_line, parsed
from undrift import errors
from undrift.errors import BackendError, ConflictError, RefusedError, UndriftError, UsageError

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "errors.md"

HEAD = """# Errors

<!-- Written by `python -m scripts.errors_reference`; a test keeps it up to date. Change the docstring instead. -->

Every error of undrift is in `undrift.errors`, in one of four branches by who has to act. Each has three texts:

- `message`: one sentence that names the thing, its state, and what was asked;
- `detail`: the facts, one a line; may be empty;
- `hint`: the command or the change that mends it; may be empty.

`kind` is the name of the class, and `retryable` says whether the same call may succeed later without anybody doing
anything. The command line writes the texts to standard error, as JSON with `--json` (`{"error": {"kind", "message",
"detail", "hint"}}`), and exits with the code of the branch. When several gates do not hold, all of them are in the
detail.
"""

BRANCHES = (UsageError, RefusedError, BackendError, ConflictError)


def reference() -> str:
    """Return the page."""
    parts = [HEAD]
    for branch in BRANCHES:
        who, _, what = parsed(branch).text.partition(": ")
        parts.append(f"## {branch.__name__}\n\n{who}: {what} Exit code {branch.exit_code}.\n")
        parts.append("| error | what happened | may pass by itself |\n| --- | --- | --- |")
        parts += [
            f"| `{leaf.__name__}` | {one_line(parsed(leaf).text)} | {'yes' if leaf.retryable else ''} |"
            for leaf in leaves(branch)
        ]
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def leaves(branch: type[UndriftError]) -> list[type[UndriftError]]:
    """Return the errors of a branch, in the order of the source."""
    return [
        thing
        for thing in vars(errors).values()
        if isinstance(thing, type) and issubclass(thing, branch) and thing is not branch
    ]


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
