"""Whether a command wrote what a page shows, where some of it is different on every machine."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: On a page: anything, within a line or as a line of its own for any number of lines.
ANYTHING = "..."
_DECIMAL = re.compile(r"\d+\.\d+")


def difference(shown: str, out: str, err: str) -> str:
    """Compare what a page shows of a command with what it wrote; return a sentence, empty when it is the same.

    All of standard output is shown, unless a line of three dots stands for the rest of it. Of standard error (steps,
    progress, waits) a page may show what it likes, in the order of its lines. Decimals match any decimals and a run of
    blanks any other, because measures differ and columns with them; three dots match anything.
    """
    results = [line for line in out.splitlines() if line.strip()]
    asides = [line for line in err.splitlines() if line.strip()]
    wanted = [line for line in shown.splitlines() if line.strip()]
    for index, line in enumerate(wanted):
        if line.strip() == ANYTHING:
            results = _from(wanted[index + 1 :], results)
        elif results and _same(line, results[0]):
            results = results[1:]
        elif (at := _find(line, asides)) is not None:
            asides = asides[at + 1 :]
        else:
            return f"the page shows {line!r}, next was {results[0]!r}" if results else f"{line!r} was not written"
    return f"the page does not show {results[0]!r}" if results else ""


def _from(rest: Sequence[str], results: list[str]) -> list[str]:
    """Leave out results up to the one that the page shows next."""
    for line in rest:
        at = _find(line, results)
        if at is not None:
            return results[at:]
    return []


def _find(line: str, among: Sequence[str]) -> int | None:
    return next((index for index, other in enumerate(among) if _same(line, other)), None)


def _same(shown: str, written: str) -> bool:
    pattern = re.escape(" ".join(_DECIMAL.sub("0.0", shown).split())).replace(re.escape(ANYTHING), ".*")
    return re.fullmatch(pattern, " ".join(_DECIMAL.sub("0.0", written).split())) is not None
