"""What tests of the command share: what it said, the way to call it, and files for it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from undrift.config import load
from undrift.control import ControlPlane

CONFIG = """
ledger = "sqlite:///undrift.db"

[stores.main]
url = "sqlite-vec:./vectors.db"

[models.old]
provider = "hashing"
dimensions = 32

[models.new]
provider = "hashing"
dimensions = 32
seed = "new"

[aliases.kb]
store = "main"
model = "old"

[timing]
poll_s = 0.02
retry_s = 0.02
"""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, str]:
        assert not self.out
        fields: dict[str, str] = json.loads(self.err)["error"]
        return fields


class Terminal(io.StringIO):
    """A stream with a person at it."""

    def isatty(self) -> bool:
        return True


#: Runs a verb: its words, and what is piped in (`stdin`) or typed at a terminal (`typed`).
Undrift = Callable[..., Outcome]


def write_lines(path: Path, objects: Sequence[Any]) -> None:
    path.write_text("".join(json.dumps(one) + "\n" for one in objects), encoding="utf-8")


def plane_of(folder: Path) -> ControlPlane:
    return ControlPlane(load(folder / "undrift.toml"))
