"""What a plan said when a migration began, kept beside it and compared with what its back-fill took."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace

from undrift.domain.cost import Forecast
from undrift.domain.route import AliasName
from undrift.migrate.workshop import Workshop
from undrift.ports.ledger import Ledger

#: Name of the note in the ledger.
NOTE = "@forecast"


def keep(ledger: Ledger, alias: AliasName, forecast: Forecast) -> None:
    """Keep what was said until the next migration of the alias."""
    ledger.tune(alias, {NOTE: json.dumps(asdict(forecast))})


def kept(notes: Mapping[str, str]) -> Forecast | None:
    """Return what was said; None where nothing was."""
    note = notes.get(NOTE)
    return Forecast(**json.loads(note)) if note else None


def settle(workshop: Workshop) -> None:
    """Write down what the back-fill has taken, now that it is done, without what proved the model."""
    said = kept(workshop.ledger.tuning(workshop.alias))
    if said is not None and said.spent is None:
        found = workshop.ledger.spending(workshop.migration().id)
        keep(workshop.ledger, workshop.alias, replace(said, spent=found.spent + found.reserved - found.proofs))
