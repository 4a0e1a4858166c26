"""An operator's word that a cutover has to wait, as a gate that names the operator."""

from __future__ import annotations

import json
from collections.abc import Mapping

from undrift.domain.gate import Gate, Verdict
from undrift.domain.route import AliasName

#: Name of the note in the ledger that says who postponed the cutover, and why.
NOTE = "@postponed"


def note_of(who: str, reason: str) -> str:
    """Return the note to leave."""
    return json.dumps({"who": who, "reason": reason})


def postponed(alias: AliasName, notes: Mapping[str, str]) -> list[Gate]:
    """Return the gate that keeps a postponed cutover waiting; none while nobody postponed it."""
    note = notes.get(NOTE)
    if not note:
        return []
    values = json.loads(note)
    because = f", because {values['reason']}" if values["reason"] else ""
    detail = f"{values['who']} postponed the cutover{because}"
    return [Gate(name="postponed", verdict=Verdict.FAIL, detail=detail, hint=f"undrift unpostpone {alias}")]
