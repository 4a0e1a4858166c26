"""Settings from `undrift.toml` and the environment; the only module that reads the environment.

Every key of the file can be given as an environment variable, which wins: `UNDRIFT_LEDGER`,
`UNDRIFT_STORES__MAIN__URL`.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from undrift.domain.timing import Timing
from undrift.domain.tuning import Limits, read_hours, read_knob
from undrift.errors import BadArgument, BadConfig

#: The file that is looked for when none is named.
DEFAULT_FILE = "undrift.toml"
_PREFIX = "UNDRIFT_"
#: Variables of ours that are not keys of the file.
_NOT_KEYS = frozenset({"UNDRIFT_CONFIG", "UNDRIFT_TOKEN"})
#: What a hook is told, which may call undrift itself.
_HOOK = "UNDRIFT_HOOK_"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


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

    provider: str = Field(description="`hashing`, `wordllama`, `sentence_transformers`, `callable` or `openai`")
    api_key_env: str | None = Field(default=None, description="name of the environment variable that holds the key")
    api_key_file: Path | None = Field(default=None, description="file that holds the key")

    @property
    def options(self) -> dict[str, Any]:
        """The keys for the provider's adapter."""
        return dict(self.model_extra or {})


def _is_knob(key: str) -> AfterValidator:
    def check(value: Any) -> Any:
        try:
            read_knob(key, str(value))
        except BadArgument as error:
            raise ValueError(error.message) from error
        return value

    return AfterValidator(check)


def known_time_zone(name: str) -> str:
    """Return the name of a time zone that this machine knows.

    Raises:
        ValueError: it knows none of that name.
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"there is no time zone {name!r} on this machine; a package such as tzdata has them"
        ) from error
    return name


class ThrottleSettings(_Strict):
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


class HookSettings(_Strict):
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


class AliasSettings(_Strict):
    """A collection under a stable name."""

    store: str = Field(description="name of its store")
    collection: str | None = Field(
        default=None, description="its first physical collection; the alias's name by default"
    )
    model: str = Field(description="name of the model it begins with; afterwards the ledger knows better")
    text: str = Field(
        default="payload:text",
        pattern=r"^payload:.+$",
        description="where texts come from: `payload:text`, or `payload:KEY` for a key of the metadata",
    )
    mirror: Literal["journal", "inline"] = Field(
        default="journal", description="`inline`: a write also waits until the other field has it"
    )
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


class TimingSettings(_Strict):
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


class ServerSettings(_Strict):
    """Where `undrift serve` listens."""

    host: str = Field(default="127.0.0.1", description="another than this machine's own wants a token")
    port: int = Field(default=8750, ge=0, le=65535, description="0 for any that is free")
    token_file: Path | None = Field(
        default=None, description="file that holds what callers have to show; `$UNDRIFT_TOKEN` wins"
    )


class Settings(_Strict):
    """Everything that can be configured."""

    ledger: str = Field(
        default="sqlite:///undrift.db", description="`sqlite:///PATH` or `postgresql://USER@HOST:PORT/DATABASE`"
    )
    stores: dict[str, StoreSettings] = Field(default_factory=dict)
    models: dict[str, ModelSettings] = Field(default_factory=dict)
    aliases: dict[str, AliasSettings] = Field(default_factory=dict)
    catalogue: str | None = Field(
        default=None,
        description="file of facts about models that count before those that are shipped; its first line is "
        "`channel,model,region,attribute,value,precision,source,seen,confidence`",
    )
    pause_file: str | None = Field(
        default=None, description="while this file is there, no worker with this configuration works, on any alias"
    )
    timing: TimingSettings = Field(default_factory=TimingSettings)
    server: ServerSettings = Field(default_factory=ServerSettings)


class Config:
    """Settings together with the file they came from, against which relative paths are read."""

    def __init__(self, settings: Settings, path: Path, text: str = "") -> None:
        """Keep the settings, their file, and the text of it."""
        self.settings = settings
        self.path = path
        self._text = text

    @property
    def folder(self) -> Path:
        """The folder that relative paths start from."""
        return self.path.absolute().parent

    def with_table(self, section: str, name: str, values: dict[str, Any]) -> Config:
        """Return the configuration with `[section.name]` added; nothing is written before `save`.

        Raises:
            BadConfig: it has that table already, or the whole is not valid with it.
        """
        # Only the verbs that change the file need it, and it is slow to import.
        import tomlkit

        document = tomlkit.parse(self._text)
        tables = document.setdefault(section, tomlkit.table(is_super_table=True))
        if name in tables:
            raise BadConfig(
                f"{self.path} has [{section}.{name}] already",
                hint=f"change it there, or choose another name than {name}",
            )
        table = tomlkit.table()
        table.update({key: value for key, value in values.items() if value is not None})
        tables[name] = table
        text = tomlkit.dumps(document)
        return parse(tomllib.loads(text), self.path, text=text)

    def save(self) -> None:
        """Write the file, whole or not at all."""
        temporary = self.path.with_name(self.path.name + ".new")
        try:
            temporary.write_text(self._text, encoding="utf-8")
            temporary.replace(self.path)
        except OSError as error:
            raise BadConfig(f"configuration {self.path} cannot be changed", str(error)) from error

    def resolve(self, path: str) -> Path:
        """Return a configured path as an absolute one."""
        return (self.folder / Path(path).expanduser()).absolute()

    def environment(self) -> dict[str, str]:
        """Return the environment of this process, for programs that it calls."""
        return dict(os.environ)

    def secret(self, owner: ModelSettings | StoreSettings, default_env: str = "") -> str | None:
        """Return the key of a model or a store from its file or the environment; it is kept nowhere else."""
        if owner.api_key_file is not None:
            return self._read_secret("key", owner.api_key_file)
        name = owner.api_key_env or default_env
        value = os.environ.get(name) if name else None
        if value is None and owner.api_key_env:
            raise BadConfig(f"environment variable {name} is not set", hint=f"export {name}=…")
        return value

    def token(self) -> str | None:
        """Return what callers of the server have to show: from the environment, or from its file."""
        given = os.environ.get("UNDRIFT_TOKEN")
        file = self.settings.server.token_file
        return given if given or file is None else self._read_secret("token", file)

    def _read_secret(self, what: str, file: Path) -> str:
        try:
            return self.resolve(str(file)).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise BadConfig(f"the {what} file {file} cannot be read", str(error)) from error


def file_named(path: str | Path | None = None) -> Path:
    """Return the configuration's file: the one that is named, or `$UNDRIFT_CONFIG`, or `undrift.toml` here."""
    return Path(path or os.environ.get("UNDRIFT_CONFIG") or DEFAULT_FILE)


def load(path: str | Path | None = None) -> Config:
    """Read the settings.

    Args:
        path: the file; by default `$UNDRIFT_CONFIG`, or `undrift.toml` here.

    Raises:
        BadConfig: the file is missing, not TOML, or has unknown keys or wrong values.
    """
    file = file_named(path)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BadConfig(f"there is no configuration {file}", hint="undrift init") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"configuration {file} cannot be read", str(error)) from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadConfig(f"configuration {file} is not valid TOML", str(error)) from error
    return parse(values, file, text=text)


def parse(values: dict[str, Any], path: Path, *, text: str = "") -> Config:
    """Check settings that were read, with those of the environment on top."""
    merged = _with_environment(values, dict(os.environ))
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        raise BadConfig(
            f"configuration {path} is not valid", _explain(error), "see docs/reference/configuration.md"
        ) from error
    _check_references(settings, path)
    return Config(settings, path, text)


def _with_environment(values: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
    merged = dict(values)
    for variable, value in environment.items():
        if not variable.startswith(_PREFIX) or variable.startswith(_HOOK) or variable in _NOT_KEYS:
            continue
        *parents, leaf = variable.removeprefix(_PREFIX).lower().split("__")
        place = merged
        for parent in parents:
            place[parent] = dict(place.get(parent) or {})
            place = place[parent]
        place[leaf] = _parsed(value)
    return merged


def _parsed(value: str) -> Any:
    """Read a number or a truth value as what it is, anything else as text."""
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        where = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            lines.append(f"{where}: unknown key")
        else:
            lines.append(f"{where}: {problem['msg'][0].lower()}{problem['msg'][1:]}")
    return "\n".join(lines)


def _check_references(settings: Settings, path: Path) -> None:
    owners = [("model", *one) for one in settings.models.items()] + [("store", *one) for one in settings.stores.items()]
    for kind, name, owner in owners:
        if "api_key" in owner.options:
            raise BadConfig(
                f"{kind} {name} in {path} has a key in the configuration",
                "secrets come from the environment or from files of their own",
                'remove api_key, and name where it is: api_key_env = "NAME", or api_key_file = "PATH"',
            )
    for name, alias in settings.aliases.items():
        for kind, wanted, known in (("store", alias.store, settings.stores), ("model", alias.model, settings.models)):
            if wanted not in known:
                raise BadConfig(
                    f"alias {name} in {path} names the {kind} {wanted}, which is not configured",
                    f"configured are: {', '.join(sorted(known)) or 'none'}",
                    f"add [{kind}s.{wanted}] to {path}",
                )
