"""Writes docs/reference/cli.md from the command itself: `python -m scripts.cli_reference`.

A test fails when the page is not what this would write.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from undrift.cli.main import SECTIONS, root
from undrift.cli.session import shared_options

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "cli.md"

HEAD = """# The command line

<!-- Written by `python -m scripts.cli_reference`; a test keeps it up to date. Change the command's own help instead. -->

Results go to standard output, everything else (progress, waits, steps, warnings, errors) to standard error. Progress is a
bar at a terminal and a line every few seconds elsewhere, with what it waits for; the time that is left is told once 1 % is
done and every document is counted.

With `--json` a result is one JSON document, and so is an error: `{"error": {"kind", "message", "detail", "hint"}}`.
`export` and `get` write JSON Lines; `get --json` is one document, with the ids that are `missing`.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | a defect of undrift, which is told in one line (`--debug` tells more), or nobody reads standard output any more |
| 2 | usage: the call, a document or the configuration is wrong |
| 3 | refused: a gate does not hold, something was not confirmed, or what was looked at is not as it should be (`verify`, `doctor`, `cutover --dry-run`) |
| 4 | a back-end failed: a store, a provider, a disk |
| 5 | conflict: another process was first; try again |
| 130, 143 | interrupted by Ctrl-C, by SIGTERM; the same command goes on (`worker` finishes its piece and exits with 0) |

`cutover`, `rollback`, `complete`, `cancel --drop` and `delete --filter '{}'` ask at a terminal; elsewhere they want `--yes`.

## Options of every verb

They may stand before or after the verb.
"""


def reference() -> str:
    """Return the page."""
    parts = [HEAD, _table(_rows(shared_options()))]
    for title, verbs in SECTIONS:
        parts.append(f"\n## {title}\n")
        for verb in verbs:
            parts += _verb(verb, f"undrift {verb.name}")
    return "\n".join(parts)


def _verb(verb: click.Command, path: str) -> Iterator[str]:
    if isinstance(verb, click.Group):
        for name in verb.list_commands(click.Context(root)):
            yield from _verb(verb.commands[name], f"{path} {name}")
        return
    names = {option.name for option in shared_options()}
    own = [parameter for parameter in verb.params if parameter.name not in names]
    arguments = " ".join(one.make_metavar(click.Context(verb)) for one in own if isinstance(one, click.Argument))
    yield f"### `{' '.join(part for part in (path, arguments) if part)}`\n"
    yield inspect.cleandoc(verb.help or "") + "\n"
    options = _rows([one for one in own if isinstance(one, click.Option)])
    if options:
        yield _table(options) + "\n"


def _rows(options: list[click.Parameter]) -> list[tuple[str, str]]:
    rows = []
    for option in options:
        if not isinstance(option, click.Option):
            continue
        value = "" if option.is_flag else f" {_value(option)}"
        notes = [option.help or ""]
        if option.required:
            notes.append("Required.")
        if option.multiple:
            notes.append("May be given several times.")
        if option.show_default and option.default is not None:
            notes.append(f"Default: {option.default}.")
        rows.append((f"`{', '.join(option.opts)}{value}`", " ".join(notes).replace("|", "\\|")))
    return rows


def _value(option: click.Option) -> str:
    if isinstance(option.type, click.Choice):
        # A bar would end the cell of the table.
        return " or ".join(map(str, option.type.choices))
    return option.metavar or option.type.name.split(" ")[0].upper()


def _table(rows: list[tuple[str, str]]) -> str:
    return "\n".join(["| option | meaning |", "| --- | --- |", *(f"| {name} | {meaning} |" for name, meaning in rows)])


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
