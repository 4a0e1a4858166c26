"""Settings from `undrift.toml` and the environment; the only module that reads the environment.

Every key of the file can be given as an environment variable, which wins: `UNDRIFT_LEDGER`,
`UNDRIFT_STORES__MAIN__URL`.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from undrift.config.settings import ModelSettings, Settings, StoreSettings, ThrottleSettings
from undrift.domain.order import Order
from undrift.domain.route import AliasName
from undrift.domain.tuning import Limits
from undrift.errors import BadConfig

#: The file that is looked for when none is named.
DEFAULT_FILE = "undrift.toml"
_PREFIX = "UNDRIFT_"
#: Variables of ours that are not keys of the file.
_NOT_KEYS = frozenset({"UNDRIFT_CONFIG", "UNDRIFT_TOKEN"})
#: What a hook is told, which may call undrift itself.
_HOOK = "UNDRIFT_HOOK_"


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

    def without_table(self, section: str, name: str) -> Config:
        """Return the configuration without `[section.name]`; nothing is written before `save`."""
        import tomlkit

        document = tomlkit.parse(self._text)
        tables = document.get(section, {})
        tables.pop(name, None)
        if section in document and not tables:
            document.pop(section)
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

    def throttle_of(self, alias: AliasName) -> ThrottleSettings:
        """Return what keeps workers from working on an alias; the defaults where it is not configured."""
        settings = self.settings.aliases.get(alias)
        return settings.throttle if settings is not None else ThrottleSettings()

    def limits_of(self, alias: AliasName) -> Limits:
        """Return how hard workers may work on an alias."""
        return self.throttle_of(alias).as_limits()

    def order_of(self, alias: AliasName) -> Order:
        """Return which documents of an alias come first in a back-fill."""
        settings = self.settings.aliases.get(alias)
        return settings.as_order() if settings is not None else Order()

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

    def notice_secret(self) -> str:
        """Return what alerts are signed with; empty where nothing is configured."""
        notices = self.settings.notices
        return self._secret_of(notices.secret_env, notices.secret_file, "secret")

    def pagerduty_key(self) -> str:
        """Return the integration key of PagerDuty; empty where nothing is configured."""
        notices = self.settings.notices
        return self._secret_of(notices.pagerduty_key_env, notices.pagerduty_key_file, "PagerDuty key")

    def apprise_addresses(self) -> list[str]:
        """Return the addresses of Apprise; none where nothing is configured."""
        file = self.settings.notices.apprise_file
        lines = self._read_secret("Apprise", file).splitlines() if file is not None else []
        return [line.strip() for line in lines if line.strip() and not line.startswith("#")]

    def token(self) -> str | None:
        """Return what callers of the server have to show: from the environment, or from its file."""
        given = os.environ.get("UNDRIFT_TOKEN")
        file = self.settings.server.token_file
        return given if given or file is None else self._read_secret("token", file)

    def _secret_of(self, variable: str | None, file: Path | None, what: str) -> str:
        if file is not None:
            return self._read_secret(what, file)
        value = os.environ.get(variable) if variable else ""
        if value is None:
            raise BadConfig(f"environment variable {variable} is not set", hint=f"export {variable}=…")
        return value

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
    _check_domains(settings, path)


def _check_domains(settings: Settings, path: Path) -> None:
    for name, domains in settings.domains.items():
        if name in settings.aliases:
            raise BadConfig(
                f"{path} has both [aliases.{name}] and [domains.{name}]",
                "a query under that name would have two meanings",
                "give one of them another name",
            )
        for alias in filter(None, [*domains.aliases.values(), domains.fallback]):
            if alias not in settings.aliases:
                raise BadConfig(
                    f"domains {name} in {path} name the alias {alias}, which is not configured",
                    f"configured are: {', '.join(sorted(settings.aliases)) or 'none'}",
                    f"add [aliases.{alias}] to {path}",
                )
