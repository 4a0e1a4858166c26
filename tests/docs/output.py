"""Whether a command wrote what a page shows, where some of it is different on every machine."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: On a page: anything, within a line or as a line of its own for any number of lines.
ANYTHING = "..."
_DECIMAL = re.compile(r"\d+\.\d+")


def difference(shown: str, out: str, err: str) -> str:
    """Compare what a page shows of a command with what it wrote; return a sentence, empty when it is the same.

    All of standard output is shown, unless a line of three dots stands for some of it. Of standard error (steps,
    progress, waits) a page may show what it likes, in the order of its lines. Decimals match any decimals and a run of
    blanks any other, because measures differ and columns with them; three dots match anything.
    """
    return _Comparison(_lines(shown), _lines(out), _lines(err)).run()


class _Comparison:
    """The search for a way to lay what is shown over what was written."""

    def __init__(self, shown: Sequence[str], out: Sequence[str], err: Sequence[str]) -> None:
        self._shown, self._out, self._err = shown, out, err
        self._dead: set[tuple[int, int, int]] = set()
        self._furthest = (0, 0)

    def run(self) -> str:
        if self._fits(0, 0, 0):
            return ""
        line, written = self._furthest
        found = repr(self._out[written]) if written < len(self._out) else "nothing"
        wanted = repr(self._shown[line]) if line < len(self._shown) else "nothing more"
        return f"the page shows {wanted}, and {found} was written"

    def _fits(self, line: int, out: int, err: int) -> bool:
        """Whether the rest of what is shown fits the rest of both streams."""
        if (line, out, err) in self._dead:
            return False
        self._furthest = max(self._furthest, (line, out))
        if line == len(self._shown):
            fits = out == len(self._out)
        elif self._shown[line] == ANYTHING:
            fits = any(self._fits(line + 1, later, err) for later in range(out, len(self._out) + 1))
        else:
            on_out = out < len(self._out) and _same(self._shown[line], self._out[out])
            fits = on_out and self._fits(line + 1, out + 1, err)
            if not fits:
                aside = next((at for at in range(err, len(self._err)) if _same(self._shown[line], self._err[at])), None)
                fits = aside is not None and self._fits(line + 1, out, aside + 1)
        if not fits:
            self._dead.add((line, out, err))
        return fits


def _lines(text: str) -> list[str]:
    return [" ".join(_DECIMAL.sub("0.0", line).split()) for line in text.splitlines() if line.strip()]


def _same(shown: str, written: str) -> bool:
    return re.fullmatch(re.escape(shown).replace(re.escape(ANYTHING), ".*"), written) is not None
