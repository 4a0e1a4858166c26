"""Writes docs/reference/configuration.md from settings and adapters: `python -m scripts.configuration_reference`.

A test fails when the page is not what this would write.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from scripts.docstrings import one_line, parsed
from undrift.adapters.builtin import EMBEDDERS
from undrift.adapters.embedders.http.profiles import PROFILES
from undrift.config import (
    AliasSettings,
    CheckSettings,
    DomainSettings,
    HookSettings,
    ModelSettings,
    NoticeSettings,
    ServerSettings,
    Settings,
    StoreSettings,
    ThrottleSettings,
    TimingSettings,
    WatchSettings,
    WindowSettings,
)
from undrift.control.checks import CHECKS
from undrift.domain.timing import Timing
from undrift.plugins import STORES as STORES_BUILT_IN
from undrift.plugins import load_function

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "configuration.md"

HEAD = """# Configuration

<!-- Written by `python -m scripts.configuration_reference`; a test keeps it so. Change the docstrings instead. -->

`undrift init` writes a commented `undrift.toml` that works as it stands. It is found by `--config`, by
`$UNDRIFT_CONFIG`, or in the present folder. Relative paths in it start from its own folder. An unknown key is an
error that names it.

Every key can be given by the environment too, which wins: `UNDRIFT_` and the names of the tables and the key, with
two underscores between them, such as `UNDRIFT_LEDGER` or `UNDRIFT_STORES__MAIN__URL`. Only names of lower-case
letters, digits and single underscores can be reached that way.

All processes that use an alias need the same ledger, the same stores and the same timing.

## The ledger
"""

LEDGER = """
`sqlite:///name.db` is relative to the configuration, `sqlite:////var/lib/undrift.db` is absolute. The file must be
on a disk of this machine; a network filesystem is refused. When a store has the same file, or is in the same
PostgreSQL database under the same address, a journaled write is one transaction. For several hosts,
[keep it in PostgreSQL](../how-to/use-a-postgresql-ledger.md).
"""

STORES = """
## Stores: `[stores.NAME]`
"""

STORE_KINDS = """
| address | store |
| --- | --- |
| `sqlite-vec:PATH` | a SQLite file on this machine, searched exactly; for about 100,000 documents. Extra `embedded` |
| `pgvector://USER@HOST:PORT/DATABASE` | tables of a PostgreSQL database; for millions. Extra `pgvector` |
| `elasticsearch://HOST:PORT`, `opensearch://…` | a cluster; [not verified](../how-to/use-stores-not-verified.md) |
| `redis://HOST:PORT/DATABASE` | Redis 8; [not verified](../how-to/use-stores-not-verified.md). Extra `redis` |
| `mongodb://HOST/DATABASE`, `mongodb+srv://…` | MongoDB Atlas; [not verified](../how-to/use-stores-not-verified.md) |
| `qdrant://HOST:PORT`, `qdrants://HOST:PORT` | a Qdrant server, without and with TLS; for millions. Extra `qdrant` |
| `qdrant:PATH` | a folder of Qdrant's own Python client, which imitates a server; for trials. Extra `qdrant` |
| `qdrant-edge:PATH` | a folder of Qdrant's engine in one process. Extra `qdrant-edge` |
| `chroma://HOST:PORT` | a Chroma server. Extra `chroma` |
| `chroma:FOLDER` | a folder of Chroma for one process. Extra `chroma` |
| `lancedb:FOLDER`, `lancedb:s3://…` | LanceDB, for several processes. Extra `lancedb` |
| `milvus://HOST:PORT` | a Milvus server; [verified on Milvus Lite](../how-to/use-milvus.md). Extra `milvus` |
| `milvus:PATH.db` | a file of Milvus Lite, for one process. Extra `milvus` |
| `weaviate://HOST:PORT`, `weaviates://…` | Weaviate 1.29; [not verified](../how-to/use-stores-not-verified.md) |
| `pinecone:CLOUD/REGION` | Pinecone, without migrations; [not verified](../how-to/use-stores-not-verified.md) |
| `memory:NAME` | inside this process, gone with it; for tests |

Other packages may bring more ([write an adapter](../how-to/write-an-adapter.md#make-its-name-known)). The other keys
belong to the kind of store. One that it does not have is an error that lists those it has.
"""

MODELS = """
## Models: `[models.NAME]`

The name is yours: it stands behind `--to`, and the ledger remembers it. Change what it stands for, and the space is
another one; undrift then refuses to use it for the old vectors. So give a new model a name of its own.
"""

PROVIDERS = """
The other keys belong to the provider. One that it does not have is an error that lists those it has.
"""

ALIASES = """
## Aliases: `[aliases.NAME]`

An alias that is configured is made at its first use, with an empty collection. From then on the ledger knows what
it means; `collection`, `model` and `mirror` are not looked at again.
"""

DOMAINS = """
## Domains: `[domains.NAME]`

Aliases under one name, each for the queries of its domains: `undrift search NAME TEXT --domain DOMAIN`. One alias
answers, so vectors of two spaces are never compared. [How to](../how-to/route-by-domain.md).
"""

TIMING = """
## Timing: `[timing]`

Defaults fit one machine. All durations are in seconds.
"""

SERVER = """
## The server: `[server]`

Where [`undrift serve`](../how-to/write-from-other-languages.md#over-http) listens.
"""

NOTICES = """
## Who is told: `[notices]`

Who is [told of alerts](../how-to/watch.md#be-told), besides the log.
"""

WATCH = """
## The look-out: `[watch.NAME]`

One table for each check of [`undrift watch`](../how-to/watch.md), named after it: %s. The keys of all:
"""

OWN = """
`[watch.%s]` also has:
"""

MAINTENANCE = """
Hours in which nobody is told of some alerts, each a `[[watch.maintenance]]`:
"""

#: What a person who configures a provider should know besides its keys.
NOTES = {
    "hashing": "It needs no download and knows nothing of meaning: for tests, and as the old model of a first try.",
    "wordllama": "The weights come with the package `wordllama`. Extra `embedded`.",
    "sentence_transformers": "Nothing is downloaded. The space is read from the model's files, its prompts become the "
    "prefixes. Extra `sentence-transformers`.",
    "onnx": "Nothing is downloaded. Extra `onnx`. [How to](../how-to/use-your-own-model.md#onnx).",
    "callable": "`function` and `query_function` are written as `module:name`, and found beside the configuration too. "
    "[How to](../how-to/use-your-own-model.md).",
    "head": "The base is any configured model that is no head itself. [How to](../how-to/fine-tune.md).",
    "openai": "`openai` is for every server that speaks OpenAI's dialect, too. [How to](../how-to/use-providers.md).",
}
#: Keys that never stand in the configuration themselves.
HIDDEN = frozenset({"self", "api_key", "provider"})
#: What is said of each provider that is called over HTTP.
PROVIDERS_HEAD = """| provider | where | key from | keys of its own |
| --- | --- | --- | --- |"""


THROTTLE = """
## How hard is worked on an alias

In `[aliases.NAME.throttle]`. Any one limit that is passed keeps the back-fill waiting, and `undrift status` names
it with its figures. Documents that writers touch are carried over all the same. `undrift tune` changes these keys
while the work goes on, except `http` and `function`: [how to](../how-to/operate-a-migration.md#throttle).
"""

HOOKS = """
## What is called at the moments of a migration

In `[aliases.NAME.hooks]`: lists of programs, each a list of words, and of functions, each written as `module:name`.
[How to](../how-to/hooks.md).
"""


def reference() -> str:
    """Return the page."""
    parts = [
        HEAD,
        _table(
            _settings(
                Settings, only=("ledger", "pause_file", "cache_mb", "catalogue", "observations", "feeds", "traces")
            )
        ),
        LEDGER,
    ]
    parts += [STORES, _table(_settings(StoreSettings)), STORE_KINDS]
    kinds = {target: name for name, target in reversed(STORES_BUILT_IN.items())}
    for target, name in reversed(kinds.items()):
        options = [row for row in _arguments(load_function(target)) if row[1] != "required"]
        if options:
            parts.append(f"### {name}\n\n{_table(iter(options))}\n")
    parts += [MODELS, _table(_settings(ModelSettings)), PROVIDERS]
    for target in dict.fromkeys(EMBEDDERS.values()):
        adapter = load_function(target)
        name, *others = (name for name, its in EMBEDDERS.items() if its == target)
        summary = parsed(adapter).text.partition("\n\n")[0]
        parts.append(f"### {'Providers over HTTP' if others else name}\n\n{summary} {NOTES[name]}\n")
        if others:
            parts.append("\n".join([PROVIDERS_HEAD, *map(_provider, PROFILES)]) + "\n")
        parts.append(_table(_arguments(adapter)) + "\n")
    parts += [ALIASES, _table(_settings(AliasSettings)), THROTTLE, _table(_settings(ThrottleSettings))]
    parts += [HOOKS, _table(_settings(HookSettings))]
    parts += [DOMAINS, _table(_settings(DomainSettings))]
    parts += [TIMING, _table(_timing()), SERVER]
    parts += [_table(_settings(ServerSettings)), NOTICES, _table(_settings(NoticeSettings))]
    parts += [WATCH % ", ".join(f"`{check.name}`" for check in CHECKS), _table(_settings(CheckSettings))]
    for name, settings in _checks():
        own = tuple(key for key in type(settings).model_fields if key not in CheckSettings.model_fields)
        parts += [OWN % name, _table(_settings(type(settings), only=own))] if own else []
    parts += [MAINTENANCE, _table(_settings(WindowSettings))]
    return "\n".join(parts).rstrip() + "\n"


def _checks() -> Iterator[tuple[str, CheckSettings]]:
    for name, settings in WatchSettings():
        if isinstance(settings, CheckSettings):
            yield name, settings


def _settings(model: type[BaseModel], only: tuple[str, ...] = ()) -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        if not only or name in only:
            default = "required" if field.is_required() else "" if field.default_factory else _shown(field.default)
            yield name, default, one_line(field.description or "")


def _arguments(adapter: Any) -> Iterator[tuple[str, str, str]]:
    described = parsed(adapter.__init__).entries("Args")
    for name, parameter in inspect.signature(adapter).parameters.items():
        if name not in HIDDEN:
            default = "required" if parameter.default is parameter.empty else _shown(parameter.default)
            yield name, default, one_line(described[name])


def _provider(name: str) -> str:
    profile = PROFILES[name]
    own = ", ".join(f"`{option}`" for option in sorted(profile.takes))
    key = f"`{profile.key_variable}`" if profile.key_variable else ""
    where = profile.base_url.replace("{region}", "REGION")
    return f"| `{name}` | {where or '`base_url`'} | {key} | {own} |"


def _timing() -> Iterator[tuple[str, str, str]]:
    described = parsed(Timing).entries("Attributes")
    for name, field in TimingSettings.model_fields.items():
        yield name, _shown(field.default), one_line(described[name])


def _shown(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return f"`{str(value).lower()}`"
        case Enum():
            return f'`"{value.value}"`'
        case str():
            return f'`"{value}"`' if value else ""
        case _:
            return f"`{value}`"


def _table(rows: Iterator[tuple[str, str, str]]) -> str:
    lines = [f"| `{name}` | {default} | {meaning} |" for name, default, meaning in rows]
    return "\n".join(["| key | default | meaning |", "| --- | --- | --- |", *lines])


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
