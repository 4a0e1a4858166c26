"""The configuration: what can be set, and the file and environment that it comes from."""

from __future__ import annotations

from undrift.config.file import Config, file_named, load, parse
from undrift.config.settings import (
    AliasSettings,
    DomainSettings,
    HookSettings,
    ModelSettings,
    NoticeSettings,
    ServerSettings,
    Settings,
    StoreSettings,
    ThrottleSettings,
    TimingSettings,
    known_time_zone,
)

__all__ = [
    "AliasSettings",
    "Config",
    "DomainSettings",
    "HookSettings",
    "ModelSettings",
    "NoticeSettings",
    "ServerSettings",
    "Settings",
    "StoreSettings",
    "ThrottleSettings",
    "TimingSettings",
    "file_named",
    "known_time_zone",
    "load",
    "parse",
]
