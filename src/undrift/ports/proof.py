"""The part of the durable memory in which comparisons are kept, whole ones and those that still go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from undrift.domain.gate import VerificationReport
from undrift.domain.route import AliasName


class ProofLedger(Protocol):
    """What is known about the equality of both fields, beside the present migration."""

    def save_verification(self, alias: AliasName, report: VerificationReport) -> None:
        """Keep what a comparison found."""
        ...

    def verification(self, alias: AliasName) -> VerificationReport | None:
        """Return the last comparison of the present migration."""
        ...

    def save_bookmark(self, alias: AliasName, name: str, content: Mapping[str, Any] | None) -> None:
        """Keep how far a long comparison has come and what it found, beside the present migration; None forgets it.

        Nothing is kept for an alias that never had a migration.
        """
        ...

    def bookmark(self, alias: AliasName, name: str) -> dict[str, Any] | None:
        """Return what was kept under a name for the present migration."""
        ...
