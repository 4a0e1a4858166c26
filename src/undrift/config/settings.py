"""Everything that can be configured, one class a table of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from undrift.config.strict import Strict, known_time_zone
from undrift.config.watching import NoticeSettings, WatchSettings
from undrift.domain.batch import BatchMode
from undrift.domain.domains import Domains
from undrift.domain.order import FIRST, Order, read_first
from undrift.domain.pacing import PaceLimits
from undrift.domain.route import AliasName
from undrift.domain.timing import Timing
from undrift.domain.tuning import Limits, read_hours, read_knob
from undrift.errors import BadArgument


class StoreSettings(BaseModel):
    """Where vectors are kept; keys beyond these go to the store's adapter, which refuses those it does not know."""

    model_config = ConfigDict(extra="allow", frozen=True)

    url: str = Field(description="its address: its kind, a colon, and where it is; all kinds are listed below")
    api_key_env: str | None = Field(
        default=None, description="name of the environment variable that holds the store's key, token or password"
    )
    api_key_file: Path | None = Field(default=None, description="file that holds the store's key, token or password")

    @property
    def options(self) -> dict[str, Any]:
        """The keys for the store's adapter."""
        return dict(self.model_extra or {})


class ModelSettings(BaseModel):
    """An embedding model; keys beyond these go to its provider's adapter, which refuses those it does not know."""

    model_config = ConfigDict(extra="allow", frozen=True)

    provider: str = Field(description="who computes the vectors; all are listed below")
    api_key_env: str | None = Field(default=None, description="name of the environment variable that holds the key")
    api_key_file: Path | None = Field(default=None, description="file that holds the key")
    tokenizer: Path | None = Field(
        default=None,
        description="file of the tokenizer that its provider bills by: `NAME.tiktoken`, or the model's "
        "`tokenizer.json`; tokens are counted with it instead of estimated",
    )
    tier: str | None = Field(
        default=None,
        description="tier of your account at the provider, such as `tier-2`: a plan reckons with its limits, and work "
        "begins with them; `undrift catalogue show MODEL` has them",
    )
    batch_usd_per_million_tokens: float | None = Field(
        default=None, ge=0, description="what its provider's batch interface costs you; the catalogue's by default"
    )
    requests_per_min: float | None = Field(
        default=None,
        gt=0,
        description="most requests in a minute, of all processes that share the ledger and the key; what answers say "
        "is kept as well, and the stricter counts",
    )
    tokens_per_min: float | None = Field(default=None, gt=0, description="the same for tokens")
    concurrent_requests: int | None = Field(
        default=None, ge=1, description="most requests under way at a time, of all those processes together"
    )
    batch_queue_tokens: int | None = Field(
        default=None, ge=1, description="most tokens in batch jobs that are not done, of all those processes together"
    )
    batch: bool | Literal["auto"] = Field(
        default=False,
        description="whether migrations embed through the provider's batch API, where it has one: `true`, `false`, or "
        '`"auto"` for as much as its queue takes, and the rest online at the same time',
    )
    reserved_for_queries: float = Field(
        default=PaceLimits().reserved_for_queries,
        ge=0,
        le=0.9,
        description="share of the pace that migrations leave to searches with the same key",
    )
    num_gpus: float = Field(
        default=0.0, ge=0, description="graphics processors of one process of the engine `ray`; 0.5 is shared by two"
    )
    num_cpus: float = Field(default=1.0, ge=0, description="cores of one process of the engine `ray`")

    @property
    def options(self) -> dict[str, Any]:
        """The keys for the provider's adapter."""
        return dict(self.model_extra or {})

    @property
    def batch_mode(self) -> BatchMode:
        """How the provider's batch API is used, unless a migration says otherwise."""
        return BatchMode(str(self.batch).lower())

    def as_pace_limits(self, *, requests: float | None = None, tokens: float | None = None) -> PaceLimits:
        """Return the value that the core works with.

        Args:
            requests: requests a minute that accounts of this tier have, where that is known.
            tokens: the same for tokens.
        """
        return PaceLimits(
            assumed_requests_per_min=requests,
            assumed_tokens_per_min=tokens,
            requests_per_min=self.requests_per_min,
            tokens_per_min=self.tokens_per_min,
            concurrent_requests=self.concurrent_requests,
            reserved_for_queries=self.reserved_for_queries,
        )


def _is_knob(key: str) -> AfterValidator:
    def check(value: Any) -> Any:
        try:
            read_knob(key, str(value))
        except BadArgument as error:
            raise ValueError(error.message) from error
        return value

    return AfterValidator(check)


class ThrottleSettings(Strict):
    """How hard workers may work; `undrift tune` changes all but the last two while they do."""

    chunk_size: Annotated[int, _is_knob("chunk_size")] = Field(
        default=Limits().chunk_size, description="documents that a worker reads and embeds in one go, 1 to 256"
    )
    nice_ratio: Annotated[float, _is_knob("nice_ratio")] = Field(
        default=Limits().nice_ratio, description="seconds of rest after a piece, for each second that it took"
    )
    max_rows_per_s: Annotated[float, _is_knob("max_rows_per_s")] | None = Field(
        default=None, description="documents back-filled in a second, by all workers together"
    )
    max_lag_s: Annotated[float, _is_knob("max_lag_s")] | None = Field(
        default=None, description="wait while the oldest dirty document is older, in seconds"
    )
    max_search_ms: Annotated[float, _is_knob("max_search_ms")] | None = Field(
        default=None,
        description="wait while searches of the serving field take longer (p95 over the last minute, as the slowest "
        "application measures it; where none searches, of one probe search a second by the worker), in milliseconds",
    )
    max_error_rate: Annotated[float, _is_knob("max_error_rate")] | None = Field(
        default=None, description="wait while a larger share (0 to 1) of a worker's calls of the store failed"
    )
    hours: Annotated[str, _is_knob("hours")] | None = Field(
        default=None, description="the only part of the day in which the work goes on, such as `22:00-06:00`"
    )
    time_zone: Annotated[str, AfterValidator(known_time_zone)] = Field(
        default=Limits().time_zone, description="the time zone of those hours, such as `Europe/Berlin`"
    )
    http: str | None = Field(
        default=None, pattern=r"^https?://", description="wait while this address answers anything but 200, or nothing"
    )
    function: str | None = Field(
        default=None,
        pattern=r"^[^:]+:[^:]+$",
        description="`module:name` of a function without arguments, found beside the configuration too: wait while it "
        "returns a text (the reason) or `False`, or raises",
    )

    def as_limits(self) -> Limits:
        """Return the value that the core works with."""
        values = self.model_dump(exclude={"http", "function", "hours"})
        return Limits(hours=read_hours(self.hours) if self.hours else None, **values)


Hooks = list[str | list[str]]


class HookSettings(Strict):
    """Programs and functions that are called at the moments of a migration, in the order in which they stand."""

    timeout_s: float = Field(default=60.0, gt=0, description="how long each of them may take, in seconds")
    on_validated: Hooks = Field(default=[], description="the migration is recorded")
    on_start: Hooks = Field(default=[], description="writes are journaled, and the work begins")
    on_backfill_complete: Hooks = Field(default=[], description="every document that nobody touched is carried over")
    on_ready: Hooks = Field(default=[], description="both fields are equal, and the cutover may come")
    before_cutover: Hooks = Field(default=[], description="a cutover is about to happen; they may refuse it")
    after_cutover: Hooks = Field(default=[], description="the target serves")
    on_rollback: Hooks = Field(default=[], description="the source serves again")
    on_quarantine: Hooks = Field(default=[], description="more documents are set aside than ever before")
    on_failure: Hooks = Field(default=[], description="the migration is halted, and needs a person")
    on_success: Hooks = Field(default=[], description="the migration is completed")

    @field_validator("*", mode="after")
    @classmethod
    def _is_callable(cls, value: Any) -> Any:
        for hook in value if isinstance(value, list) else []:
            if not hook or (isinstance(hook, str) and ":" not in hook):
                raise ValueError(f"{hook!r} is neither a list of words nor a function as module:name")
        return value


class AliasSettings(Strict):
    """A collection under a stable name."""

    store: str = Field(description="name of its store")
    collection: str | None = Field(
        default=None, description="its first physical collection; the alias's name by default"
    )
    model: str = Field(description="name of the model it begins with; afterwards the ledger knows better")
    text: str = Field(
        default="payload:text",
        pattern=r"^(payload:.+|jsonl:.+|sql:.+|python:.+:.+)$",
        description="where an adopted collection's texts come from: `payload:text`, `payload:KEY` for a key of the "
        "metadata, `jsonl:PATH`, `sql:ADDRESS QUERY` with `:ids` in the query, or `python:MODULE:FUNCTION`",
    )
    mirror: Literal["journal", "inline"] = Field(
        default="journal", description="`inline`: a write also waits until the other field has it"
    )
    order: list[str] = Field(
        default=[],
        description="which documents a back-fill carries first, before the others in the order of their ids: "
        "`searched`, those that searches return most, and `recent:KEY`, those with the highest value of that key of "
        "their metadata",
    )
    order_documents: int = Field(default=FIRST, ge=1, le=10_000, description="how many of each kind come first")
    throttle: ThrottleSettings = Field(
        default_factory=ThrottleSettings, description="how hard workers may work on it: `[aliases.NAME.throttle]`"
    )
    hooks: HookSettings = Field(
        default_factory=HookSettings, description="what is called at the moments of a migration: `[aliases.NAME.hooks]`"
    )
    reconcile: Literal["suspected", "always"] = Field(
        default="suspected",
        description="when a cutover wants two scans for writes past undrift: `suspected` or `always`",
    )

    @field_validator("order")
    @classmethod
    def _is_order(cls, value: list[str]) -> list[str]:
        try:
            return [read_first(word) for word in value]
        except BadArgument as error:
            raise ValueError(f"{error.message}; {error.detail}") from error

    def as_order(self) -> Order:
        """Return the value that the core works with."""
        return Order(first=tuple(self.order), documents=self.order_documents)


class DomainSettings(Strict):
    """Aliases under one name, each for the queries of its domains."""

    aliases: dict[str, str] = Field(min_length=1, description="the alias of each domain")
    fallback: str | None = Field(
        default=None, description="the alias of every other query; without it, such a query is refused"
    )

    def as_domains(self, name: str) -> Domains:
        """Return the value that the core works with."""
        return Domains(
            name=name,
            aliases={domain: AliasName(alias) for domain, alias in self.aliases.items()},
            fallback=None if self.fallback is None else AliasName(self.fallback),
        )


class TimingSettings(Strict):
    """Durations in seconds; the same for every process that shares a ledger."""

    lease_s: float = Field(default=Timing().lease_s, gt=0)
    poll_s: float = Field(default=Timing().poll_s, gt=0)
    deadline_s: float = Field(default=Timing().deadline_s, gt=0)
    write_timeout_s: float = Field(default=Timing().write_timeout_s, gt=0)
    work_lease_s: float = Field(default=Timing().work_lease_s, gt=0)
    retry_s: float = Field(default=Timing().retry_s, gt=0)
    proof_s: float = Field(default=Timing().proof_s, gt=0)
    fence_horizon_s: float | None = Field(default=None, gt=0)

    def as_timing(self) -> Timing:
        """Return the value that the core works with."""
        return Timing(**self.model_dump())


class ServerSettings(Strict):
    """Where `undrift serve` listens."""

    host: str = Field(default="127.0.0.1", description="another than this machine's own wants a token")
    port: int = Field(default=8750, ge=0, le=65535, description="0 for any that is free")
    token_file: Path | None = Field(
        default=None, description="file that holds what callers have to show; `$UNDRIFT_TOKEN` wins"
    )


class Settings(Strict):
    """Everything that can be configured."""

    ledger: str = Field(
        default="sqlite:///undrift.db", description="`sqlite:///PATH` or `postgresql://USER@HOST:PORT/DATABASE`"
    )
    stores: dict[str, StoreSettings] = Field(default_factory=dict)
    models: dict[str, ModelSettings] = Field(default_factory=dict)
    aliases: dict[str, AliasSettings] = Field(default_factory=dict)
    domains: dict[str, DomainSettings] = Field(default_factory=dict)
    catalogue: str | None = Field(
        default=None,
        description="file of facts about models that count before those that are shipped; its first line is "
        "`channel,model,region,attribute,value,precision,source,seen,confidence`",
    )
    observations: str = Field(
        default="undrift-catalogue.csv",
        description="file that `undrift catalogue refresh` writes every observation into; they count beside what is "
        "shipped",
    )
    feeds: list[str] = Field(
        default=[],
        description="tables of facts, as files or addresses, that `undrift catalogue refresh` reads as well; or the "
        "address of the list that deprecations.info publishes",
    )
    pause_file: str | None = Field(
        default=None, description="while this file is there, no worker with this configuration works, on any alias"
    )
    cache_mb: int = Field(
        default=1024,
        ge=1,
        description="how large the file may get in which vectors are kept that were paid for, in MiB; those that "
        "nobody asked for longest leave first",
    )
    engine: Literal["local", "ray"] = Field(
        default="local",
        description="who carries the pieces of a back-fill: `local`, the worker itself, or `ray`, processes of a Ray "
        "cluster",
    )
    ray_address: str = Field(
        default="",
        pattern=r"^(|auto|ray://.+|[^/]+:\d+)$",
        description="the Ray cluster: `auto` or `ray://HOST:PORT` for one that is there; empty for one of this "
        "machine's own, which ends with the worker",
    )
    ray_processes: int | None = Field(
        default=None, ge=1, description="most processes at a time in the Ray cluster; as many as find room by default"
    )
    traces: bool = Field(
        default=False,
        description="whether migrations are traced for OpenTelemetry, through the exporter that the process is started "
        "with; extra `otel`",
    )
    timing: TimingSettings = Field(default_factory=TimingSettings)
    server: ServerSettings = Field(default_factory=ServerSettings)
    notices: NoticeSettings = Field(default_factory=NoticeSettings)
    watch: WatchSettings = Field(default_factory=WatchSettings)
