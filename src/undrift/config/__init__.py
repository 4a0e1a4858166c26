"""The configuration: what can be set, and the file and environment that it comes from."""

from __future__ import annotations

from undrift.config.file import Config, file_named, load, parse
from undrift.config.settings import (
    AliasSettings,
    DomainSettings,
    HookSettings,
    ModelSettings,
    ServerSettings,
    Settings,
    StoreSettings,
    ThrottleSettings,
    TimingSettings,
)
from undrift.config.strict import known_time_zone
from undrift.config.watching import (
    CheckSettings,
    NoticeSettings,
    SunsetSettings,
    WatchSettings,
    WindowSettings,
)

__all__ = [
    "AliasSettings",
    "CheckSettings",
    "Config",
    "DomainSettings",
    "HookSettings",
    "ModelSettings",
    "NoticeSettings",
    "ServerSettings",
    "Settings",
    "StoreSettings",
    "SunsetSettings",
    "ThrottleSettings",
    "TimingSettings",
    "WatchSettings",
    "WindowSettings",
    "file_named",
    "known_time_zone",
    "load",
    "parse",
]
