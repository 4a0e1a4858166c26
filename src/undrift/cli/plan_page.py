"""The page that a plan is printed as, for whoever has to agree to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from undrift.cli.layout import columns, duration, money, number, paragraphs, size, steps
from undrift.cli.reports import first_ones
from undrift.domain.wording import plural


def plan(value: Mapping[str, Any]) -> str:
    """Describe what a migration would take."""
    rows = [
        ("from", value["source"]["field"], value["source"]["space"]),
        ("to", value["target"]["field"], f"{value['target']['space']}  (model {value['target']['model']})"),
    ]
    if value["layout"] == "in-place":
        rows.append(("", "beside the old vectors, in the same records", ""))
    facts = [
        ("documents", _documents(value)),
        *([("vectors", "copied as they are")] if value["vectors"] == "copied" else []),
        *_embedding(value),
        ("cost", _cost(value)),
        *_time(value),
        ("storage", f"{size(value['storage_bytes'])} more, until the old field is dropped"),
        *first_ones(value["order"]),
        ("search", _search(value["search"])),
        ("gates", ", ".join(value["gates"])),
    ]
    warnings = columns([("Warning:", warning) for warning in value["warnings"]])
    head = f"Plan for {value['alias']}; nothing has changed.\n"
    return paragraphs(
        head + columns(rows, indent=2) + "\n" + columns(facts, indent=2), warnings, steps(value["next_steps"])
    )


def _documents(value: Mapping[str, Any]) -> str:
    parts = [number(value["documents"])]
    parts += [f"{number(value['duplicates'])} with the text of another"] if value["duplicates"] else []
    parts += [f"{plural(value['cached'], 'vector')} in the cache already"] if value["cached"] else []
    return ", ".join(parts)


def _embedding(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    texts = plural(value["unique_texts"], "different text")
    if value["vectors"] == "shared":
        return [("to embed", f"nothing, 0 tokens: both models share a space ({value['shared_space']['source']})")]
    exact = value["tokens_are"] == "exact"
    about, span = ("", "") if exact else ("about ", " ({:,} to {:,})".format(*value["tokens_interval"]))
    prefix = f", {number(value['prefix_tokens'])} of them prefix" if value["prefix_tokens"] else ""
    return [("to embed", f"{texts}, {about}{number(value['tokens'])} tokens{span}{prefix}")]


def _cost(value: Mapping[str, Any]) -> str:
    cost, price = value["cost_usd"], value["price"]["online"]
    if cost["online"] is None:
        return "not known: nobody has said what a million tokens cost"
    text = money(cost["online"])
    if not price["usd_per_million_tokens"] or not cost["online"]:
        return text
    text += f" at ${price['usd_per_million_tokens']:g} a million tokens ({price['source']})"
    return text if cost["batch"] is None else f"{text}, or {money(cost['batch'])} by batch"


def _time(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    hours, rows = value["hours"], []
    if hours["online"] is not None:
        tier = f" of {value['tier']}" if value["tier"] else ""
        rows.append(("time", f"{duration(hours['online'] * 3600)} online, bound by {hours['bound_by']}{tier}"))
    if hours["batch_files"] is not None:
        spans = [
            *([f"{duration(hours['batch'] * 3600)} expected"] if hours["batch"] is not None else []),
            *([f"{duration(hours['batch_worst'] * 3600)} at worst"] if hours["batch_worst"] is not None else []),
        ]
        files = f"{plural(hours['batch_files'], 'file')} in {plural(hours['batch_waves'], 'wave')}"
        wins = {"batch": "; batch wins", "online": "; online wins", None: ""}[hours["wins"]]
        rows.append(("" if rows else "time", f"{', '.join(spans) or 'nobody knows how long'} by batch, {files}{wins}"))
    return rows


def _search(search: Mapping[str, Any]) -> str:
    now = "" if search["p95_ms"] is None else f"{search['p95_ms']:.1f} ms now (p95); "
    return f"{now}{search['says']}"
