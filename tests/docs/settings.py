"""Whether settings that a page shows are settings, wherever in the file they stand."""

from __future__ import annotations

import tomllib
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from undrift import config
from undrift.adapters.clock import SystemClock
from undrift.errors import MissingExtra
from undrift.plugins import Plugins

STARTER = files("undrift.cli").joinpath("starter.toml")


def check(text: str) -> None:
    """Parse settings as a part of those that `undrift init` writes, and set up every model and store in them.

    Raises:
        UndriftError: undrift would not take them.
    """
    merged = _merged(tomllib.loads(STARTER.read_text(encoding="utf-8")), tomllib.loads(text))
    settings = config.parse(merged, Path("undrift.toml"))
    plugins = Plugins(settings, SystemClock())
    for name, model in settings.settings.models.items():
        try:
            plugins.embedder(name, model)
        except MissingExtra:
            continue
    for name in settings.settings.stores:
        with suppress(MissingExtra):
            plugins.store(name)
    plugins.close()


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    merged = dict(one)
    for key, value in other.items():
        merged[key] = {**merged[key], **value} if isinstance(value, dict) and key in merged else value
    return merged
