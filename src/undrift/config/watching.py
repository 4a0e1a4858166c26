"""What can be configured of the look-out: what it looks at, and who is told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator

from undrift.config.strict import Strict, known_time_zone
from undrift.domain.silence import Window
from undrift.domain.tuning import read_hours
from undrift.domain.window import Sampling
from undrift.errors import BadArgument

#: A year: no interval is longer. In seconds.
_LONGEST_S = 366 * 86_400.0
#: Longest wait for an answer: a process that tells has a claim for two minutes, and may ask three times. In seconds.
_WAIT_S = 30.0


class NoticeSettings(Strict):
    """Whom to tell of alerts, besides the log; each of them that is set is told."""

    webhook: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="address that alerts are posted to, in the shape of Alertmanager's webhook and signed",
    )
    secret_env: str | None = Field(
        default=None, description="name of the environment variable that holds the secret that they are signed with"
    )
    secret_file: Path | None = Field(default=None, description="file that holds it")
    alertmanager: str | None = Field(
        default=None, pattern=r"^https?://", description="address of an Alertmanager, such as `http://localhost:9093`"
    )
    alertmanager_lasts_s: float = Field(
        default=300.0,
        gt=0,
        le=_LONGEST_S,
        description="seconds after which Alertmanager forgets an alert that is not sent again; the look-out sends it "
        "again four times in that time. With `watch --once` from cron longer than between two runs",
    )
    pagerduty_key_env: str | None = Field(
        default=None,
        description="name of the environment variable that holds the integration key of a PagerDuty service",
    )
    pagerduty_key_file: Path | None = Field(default=None, description="file that holds it")
    pagerduty: str = Field(
        default="https://events.pagerduty.com",
        pattern=r"^https?://",
        description="address of PagerDuty; `https://events.eu.pagerduty.com` for an account in Europe",
    )
    apprise_file: Path | None = Field(
        default=None,
        description="file with addresses of Apprise, one a line: Slack, Teams, e-mail and more; extra `notify`",
    )
    timeout_s: float = Field(
        default=10.0, gt=0, le=_WAIT_S, description="longest wait for an answer, in seconds; 30 at most"
    )
    runbooks: str = Field(
        default="docs/operations/alerts.md",
        description="where the runbooks are, for the link in each alert; the name of its check is the anchor",
    )


class CheckSettings(Strict):
    """How the look-out looks at one thing."""

    enabled: bool = Field(default=True, description="whether it looks at all")
    every_s: float | None = Field(
        default=None, gt=0, le=_LONGEST_S, description="seconds between two looks; the check's own by default"
    )
    renotify_s: float | None = Field(
        default=None,
        ge=0,
        le=_LONGEST_S,
        description="seconds after which an alert is told again; 0 for never, the check's by default",
    )


class SunsetSettings(CheckSettings):
    """How the look-out looks at the ends of models."""

    tokens_per_minute: float = Field(
        default=1e6,
        ge=1,
        le=1e12,
        description="the limit of your account that a re-embedding may use, for the last safe day to begin",
    )


class WindowSettings(Strict):
    """Hours in which nobody is told of some alerts."""

    keys: list[str] = Field(default=["*"], description="keys of alerts, or patterns such as `sunset/*` and `*/kb*`")
    days: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] = Field(
        default=[], description="days on which it begins; every day by default"
    )
    hours: str = Field(description="the part of the day, such as `22:00-06:00`")
    time_zone: Annotated[str, AfterValidator(known_time_zone)] = Field(
        default="UTC", description="the time zone of those hours, such as `Europe/Berlin`"
    )

    @field_validator("hours")
    @classmethod
    def _is_hours(cls, value: str) -> str:
        try:
            read_hours(value)
        except BadArgument as error:
            raise ValueError(error.message) from error
        return value

    def as_window(self) -> Window:
        """Return the value that the core works with."""
        return Window(
            keys=tuple(self.keys), hours=read_hours(self.hours), days=tuple(self.days), time_zone=self.time_zone
        )


class DocumentsSettings(CheckSettings):
    """How the look-out looks at what documents are about."""

    labels: list[str] = Field(
        default=[],
        description='keys of the metadata, such as `["lang", "tenant"]`: each of their 16 most frequent values is '
        "looked at by itself too",
    )


class QueriesSettings(CheckSettings):
    """How the look-out looks at what people ask."""

    keep: Literal["nothing", "vectors", "texts"] = Field(
        default="nothing",
        description="what applications leave of a sample of their queries in the ledger, for the look-out: `vectors` "
        "with the first score, or their `texts` too, which show what has changed. Texts may be private, and from a "
        "vector much of its text can be guessed",
    )
    labels: list[str] = Field(
        default=[], description="keys of the filter of a search, as for documents: each of their values by itself too"
    )

    def as_sampling(self) -> Sampling | None:
        """Return the value that the core works with; None where nothing is kept."""
        if self.keep == "nothing" or not self.enabled:
            return None
        return Sampling(texts=self.keep == "texts", labels=tuple(self.labels))


class RetrievalSettings(CheckSettings):
    """How the look-out asks golden queries."""

    sets: dict[str, list[str]] = Field(
        default={},
        description='golden sets of each alias, such as `{ kb = ["support"] }`; all sets where there is one alias only',
    )
    churn: float = Field(
        default=0.05,
        gt=0,
        le=0.5,
        description="share of the documents that come or go while a baseline is in use: answers may change as much as "
        "that explains",
    )


class WatchSettings(Strict):
    """What `undrift watch` looks at, one table a check: `[watch.NAME]`."""

    sunset: SunsetSettings = Field(default_factory=SunsetSettings)
    provider: CheckSettings = Field(default_factory=CheckSettings)
    probe: CheckSettings = Field(default_factory=CheckSettings)
    retrain: CheckSettings = Field(default_factory=CheckSettings)
    documents: DocumentsSettings = Field(default_factory=DocumentsSettings)
    queries: QueriesSettings = Field(default_factory=QueriesSettings)
    retrieval: RetrievalSettings = Field(default_factory=RetrievalSettings)
    foreign: CheckSettings = Field(default_factory=CheckSettings)
    maintenance: list[WindowSettings] = Field(
        default=[], description="hours in which nobody is told: `[[watch.maintenance]]`"
    )
