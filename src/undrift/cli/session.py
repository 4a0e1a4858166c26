"""What every verb shares: the options that may stand anywhere, the opened control plane, and values in arguments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from undrift.cli.render import Screen

if TYPE_CHECKING:
    from undrift.control import ControlPlane
    from undrift.ports.runtime import Clock


@dataclass(slots=True)
class Session:
    """One run of the command.

    Attributes:
        config: the configuration that was named, None for the default.
        as_json: whether the answer is one JSON document.
        debug: whether errors come with their traceback.
        screen: where results and everything else go.
    """

    config: Path | None = None
    as_json: bool = False
    debug: bool = False
    screen: Screen = field(default_factory=Screen)

    @contextmanager
    def plane(self, role: str = "cli", *, clock: Clock | None = None) -> Iterator[ControlPlane]:
        """Open the control plane for the length of a `with` block, and end its lease whatever happens.

        Args:
            role: what this process is, for those who look at the list of clients.
            clock: the source of time; the machine's own by default.
        """
        from undrift.control import open_plane

        plane = open_plane(self.config, role=role, clock=clock)
        try:
            yield plane
        finally:
            plane.close()

    def answer(self, value: Any, text: str) -> None:
        """Give the result of a verb: as JSON if that was asked for, as text otherwise."""
        if self.as_json:
            self.screen.json(value)
        else:
            self.screen.text(text)


pass_session = click.make_pass_decorator(Session, ensure=True)


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Keep an option that may stand before or after the verb; where it is absent, nothing is forgotten."""
    if value and parameter.name:
        setattr(context.ensure_object(Session), parameter.name, value)


def shared_options() -> list[click.Parameter]:
    """Return the options that every verb and every group of verbs has."""
    return [
        click.Option(
            ["--config"],
            type=click.Path(path_type=Path),
            metavar="PATH",
            expose_value=False,
            callback=_remember,
            help="The configuration; by default $UNDRIFT_CONFIG, or undrift.toml here.",
        ),
        click.Option(
            ["--json", "as_json"],
            is_flag=True,
            expose_value=False,
            callback=_remember,
            help="Answer with one JSON document.",
        ),
        click.Option(
            ["--debug"], is_flag=True, expose_value=False, callback=_remember, help="Show the traceback of an error."
        ),
    ]


class Verb(click.Command):
    """A command with the shared options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(shared_options())


class Verbs(click.Group):
    """A group of commands with the shared options, listed in the order in which they were written."""

    command_class = Verb
    group_class = type

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"subcommand_metavar": "VERB [ARGS]...", **kwargs})
        self.params.extend(shared_options())

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Return the names in the order of the source."""
        return list(self.commands)


class Duration(click.ParamType[float]):
    """A length of time such as `2s`, `500ms` or `1m`, in seconds."""

    name = "duration"
    _units: ClassVar = {"ms": 0.001, "s": 1.0, "m": 60.0, "": 1.0}
    _example: ClassVar = "2s or 500ms"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read a length of time."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(rf"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*({'|'.join(self._units)})", str(value).strip())
        seconds = float(found[1]) * self._units[found[2]] if found else 0.0
        if not seconds:
            self.fail(f"{value!r} is not a length of time such as {self._example}", param, ctx)
        return seconds


class Length(Duration):
    """A length of time such as `30m`, `2h` or `3d`, in seconds."""

    name = "length"
    _units: ClassVar = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
    _example: ClassVar = "2h or 3d"


class Moment(click.ParamType[datetime]):
    """A time such as `22:00`, `2026-12-24 02:00` or one with its offset; without one it is of this machine's zone."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read a time; one of the day is the next of that name."""
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        now = datetime.now().astimezone()
        try:
            if re.fullmatch(r"\d{1,2}:\d{2}", text):
                found = datetime.combine(now.date(), time.fromisoformat(text.zfill(5))).astimezone()
                return found if found > now else (found.replace(tzinfo=None) + timedelta(days=1)).astimezone()
            found = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{value!r} is not a time such as 22:00 or '2026-12-24 02:00'", param, ctx)
        return found if found.tzinfo is not None else found.astimezone()


class Amount(click.ParamType[float]):
    """A finite number above 0."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read a number."""
        try:
            amount = float(value)
        except ValueError:
            amount = 0.0
        if not 0 < amount < float("inf"):
            self.fail(f"{value!r} is not a number above 0", param, ctx)
        return amount


class Assignment(click.ParamType[tuple[str, str]]):
    """A setting as KEY=VALUE."""

    name = "assignment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Cut it at the first equals sign."""
        if isinstance(value, tuple):
            return value
        key, equals, rest = str(value).partition("=")
        if not (key.strip() and equals):
            self.fail(f"{value!r} is not of the form KEY=VALUE", param, ctx)
        return key.strip(), rest.strip()


def toml_values(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Read values as TOML does, and as text what is not TOML: `256` is a number, `true` a truth value, `ada` a text."""
    return {key: _toml_value(text) for key, text in pairs}


def _toml_value(text: str) -> Any:
    import tomllib

    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    value = parsed["value"]
    # A text with a line end would be several settings, and what looks like a date is meant as a revision.
    return value if len(parsed) == 1 and isinstance(value, str | int | float | list | dict) else text
