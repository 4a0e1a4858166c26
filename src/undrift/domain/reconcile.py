"""What a scan for writes past undrift found, and what has to have been found before traffic moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

#: Why a document is set aside that somebody else wrote to the field that served before.
FOREIGN_WRITE = "foreign_write_on_old_field"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileReport:
    """What one scan found; counts, and at most ten samples of each kind.

    Attributes:
        compared: documents looked at.
        foreign: documents that somebody changed without the journal, in either field.
        held: those among the differing ones that are left as they are, because only the old field has what was written.
        requeued: differed because they were being written or carried over; the journal sees to them.
        explained: differ because they are in quarantine.
        kinds: how many of each kind, foreign and held ones.
        samples: kinds and ids of the first ones.
        epoch: the route's number it speaks about.
        since: nothing that it calls foreign was there at this time.
        started: when it began.
        finished: when it ended.
        resumed: how often it went on after an interruption.
        flag: why a reconciliation was wanted when it began; empty when none was.
    """

    compared: int
    foreign: int
    held: int
    requeued: int
    explained: int
    kinds: Mapping[str, int]
    samples: tuple[dict[str, str], ...]
    epoch: int
    since: datetime
    started: datetime
    finished: datetime
    resumed: int = 0
    flag: str = ""

    @property
    def is_clean(self) -> bool:
        """Whether nobody has written past the journal since the last scan."""
        return not self.foreign

    @property
    def per_minute(self) -> float:
        """Foreign changes a minute, over the time in which they must have happened."""
        return self.foreign * 60 / max((self.finished - self.since).total_seconds(), 1.0)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "compared": self.compared,
            "foreign": self.foreign,
            "held": self.held,
            "requeued": self.requeued,
            "explained": self.explained,
            "kinds": dict(self.kinds),
            "samples": list(self.samples),
            "window": {
                "from": self.since.isoformat(),
                "to": self.finished.isoformat(),
                "per_minute": round(self.per_minute, 3),
            },
            "epoch": self.epoch,
            "resumed": self.resumed,
            "flag": self.flag,
            "started": self.started.isoformat(),
            "finished": self.finished.isoformat(),
            "verdict": "pass" if self.is_clean else "fail",
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read back the JSON form."""
        return cls(
            **{key: values[key] for key in ("compared", "foreign", "held", "requeued", "explained", "kinds", "epoch")},
            samples=tuple(values["samples"]),
            since=datetime.fromisoformat(values["window"]["from"]),
            started=datetime.fromisoformat(values["started"]),
            finished=datetime.fromisoformat(values["finished"]),
            resumed=values["resumed"],
            flag=values["flag"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileRecord:
    """What is known of writes past undrift during one migration.

    Attributes:
        first_sequence: the journal's number when the first scan began; None before it. What was marked later has been
            told, whatever its tag in the serving field says.
        seen: foreign changes that were found in all.
        reports: the last two scans that ended, the older one first.
    """

    first_sequence: int | None = None
    seen: int = 0
    reports: tuple[ReconcileReport, ...] = field(default=())

    @property
    def is_settled(self) -> bool:
        """Whether two scans followed one another, and the second found nothing foreign."""
        if len(self.reports) < 2:
            return False
        before, last = self.reports[-2:]
        return last.is_clean and last.epoch == before.epoch and last.started >= before.finished

    def speaks_for(self, epoch: int) -> bool:
        """Whether that is so for the route of an epoch: scans of before a flip say nothing about what came after it."""
        return self.is_settled and self.reports[-1].epoch == epoch

    def answers(self, flag: str) -> bool:
        """Whether both of these scans came after a reconciliation was wanted for a reason."""
        return self.is_settled and all(report.flag == flag for report in self.reports[-2:])

    def with_report(self, report: ReconcileReport) -> ReconcileRecord:
        """Return the record with one more scan."""
        return ReconcileRecord(
            first_sequence=self.first_sequence,
            seen=self.seen + report.foreign,
            reports=(*self.reports, report)[-2:],
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "first_sequence": self.first_sequence,
            "seen": self.seen,
            "reports": [report.as_dict() for report in self.reports],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | None) -> Self:
        """Read back the JSON form; an empty record where there is none."""
        if values is None:
            return cls()
        return cls(
            first_sequence=values["first_sequence"],
            seen=values["seen"],
            reports=tuple(ReconcileReport.from_dict(report) for report in values["reports"]),
        )
