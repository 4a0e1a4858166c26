"""What a store lets collections be called, and names for them that say the same within its rules."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

#: Letters of the hash that tells a name from others which had to become the same.
_TOLD = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class NameRule:
    """What a store lets collections be called, as far as undrift makes names up; many stores take more.

    Attributes:
        marks: what a name may have besides the letters a to z and digits; the first one stands for all that it may not.
        capitals: whether it may have capital letters.
        letter_first: whether it has to begin with a letter.
        longest: how many characters it may have.
    """

    marks: str = "_-"
    capitals: bool = True
    letter_first: bool = False
    longest: int = 200

    def named(self, *parts: str) -> str:
        """Return a name of some parts, the last of which is told from others by its end.

        The same parts have the same name. What has to be changed in an earlier part, or cut off, leaves a part of a
        hash behind, so that two names stay two.

        Args:
            parts: words, such as those of an alias and of a space.
        """
        mark = self.marks[0]
        said = [self._said(part) for part in parts]
        told = list(parts[:-1]) != said[:-1]
        name = (2 * mark).join(said)
        if self.letter_first and not (name[0].isascii() and name[0].isalpha()):
            name = f"c{name}"
        if not told and len(name) <= self.longest:
            return name
        told_by = hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()[:_TOLD]
        if len(name) + _TOLD + 1 <= self.longest:
            return f"{name}{mark}{told_by}"
        return f"{name[: self.longest - _TOLD - 1].rstrip(self.marks)}{mark}{told_by}"

    def _said(self, part: str) -> str:
        word = part if self.capitals else part.lower()
        return re.sub(rf"[^A-Za-z0-9{re.escape(self.marks)}]", self.marks[0], word)
