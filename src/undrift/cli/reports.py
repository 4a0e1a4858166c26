"""What people read about a migration: status, plan, verification, and the steps of a change of the route."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from undrift.cli.following import spent
from undrift.cli.layout import columns, duration, money, number, paragraphs, size, steps
from undrift.domain.wording import plural

#: How a verdict stands in front of its line.
_MARKS = {"pass": "ok", "fail": "no", "stale": "old", "unknown": "?"}


def status(value: Mapping[str, Any]) -> str:
    """Describe where an alias and its migration stand."""
    state = "" if value["run_status"] in ("running", "idle") else f", {value['run_status']}"
    rows = [("serving", value["serving"]["field"], value["serving"]["space"])]
    if value["follower"]:
        rows.append(("follower", value["follower"]["field"], value["follower"]["space"]))
    facts = [("epoch", str(value["epoch"]))]
    if value["phase"] != "idle":
        facts += _progress(value)
    head = f"{value['alias']} · {value['phase'].replace('_', ' ')}{state}\n" + columns(rows, indent=2)
    body = columns(facts, indent=2)
    waiting = f"Waiting for: {value['waiting_for']}" if value["waiting_for"] else ""
    tail = "\n".join(part for part in (waiting, steps(value["next_steps"])) if part)
    return paragraphs(f"{head}\n{body}", gates(value["gates"]), tail)


def _progress(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    progress = value["progress"]
    share = f" ({progress['done'] / progress['total']:.0%})" if progress["total"] else ""
    parts = [f"{number(progress['done'])} of {plural(progress['total'], 'document')}{share}"]
    if progress["rate_per_s"]:
        parts.append(f"{number(progress['rate_per_s'])} a second")
    if progress["eta_s"]:
        parts.append(f"about {duration(progress['eta_s'])} left")
    oldest = f", the oldest for {duration(value['oldest_dirty_s'])}" if value["oldest_dirty_s"] else ""
    way_back = [("way back", "ready: a rollback can begin at once" if value["rollback_ready"] else "not ready")]
    return [
        ("progress", ", ".join(parts)),
        ("dirty", f"{number(value['dirty'])}{oldest}"),
        ("quarantine", number(value["quarantined"])),
        ("cost", spent(value["cost"])),
        *([("tuned", ", ".join(f"{key}={text}" for key, text in value["tuning"].items()))] if value["tuning"] else []),
        *(way_back if value["phase"] == "reversing" else []),
    ]


def overview(values: Sequence[Mapping[str, Any]]) -> str:
    """Describe several aliases, a line each."""
    head = ("ALIAS", "PHASE", "DONE", "DIRTY", "WAITING FOR")
    rows = [
        (
            value["alias"],
            value["phase"]
            if value["run_status"] in ("running", "idle")
            else f"{value['phase']}, {value['run_status']}",
            f"{value['progress']['done'] / value['progress']['total']:.0%}" if value["progress"]["total"] else "",
            number(value["dirty"]),
            value["waiting_for"] or "",
        )
        for value in values
    ]
    return columns([head, *rows], right=frozenset({2, 3}))


def gates(values: Sequence[Mapping[str, str]]) -> str:
    """Describe gates, each with what mends it."""
    if not values:
        return ""
    rows = [("Gates:", *_gate(values[0])), *(("", *_gate(gate)) for gate in values[1:])]
    return columns(rows)


def _gate(gate: Mapping[str, str]) -> tuple[str, str, str]:
    hint = f" → {gate['hint']}" if gate["hint"] else ""
    return _MARKS[gate["verdict"]], gate["name"], gate["detail"] + hint


def plan(value: Mapping[str, Any]) -> str:
    """Describe what a migration would take."""
    about = "" if value["tokens_are"] == "exact" else "about "
    hours = value["hours"]["online"]
    rows = [
        ("from", value["source"]["field"], value["source"]["space"]),
        ("to", value["target"]["field"], f"{value['target']['space']}  (model {value['target']['model']})"),
    ]
    facts = [
        ("documents", number(value["documents"])),
        ("to embed", f"{plural(value['unique_texts'], 'different text')}, {about}{number(value['tokens'])} tokens"),
        ("cost", _price(value["cost_usd"])),
        *([("time", duration(hours * 3600))] if hours is not None else []),
        ("storage", f"{size(value['storage_bytes'])} more, until the old field is dropped"),
        ("gates", ", ".join(value["gates"])),
    ]
    warnings = columns([("Warning:", warning) for warning in value["warnings"]])
    head = f"Plan for {value['alias']}; nothing has changed.\n"
    return paragraphs(
        head + columns(rows, indent=2) + "\n" + columns(facts, indent=2), warnings, steps(value["next_steps"])
    )


def _price(cost: Mapping[str, float | None]) -> str:
    online = f"{money(cost['online'] or 0)}"
    return online if cost["batch"] is None else f"{online}, or {money(cost['batch'])} by batch"


def verification(alias: str, value: Mapping[str, Any]) -> str:
    """Describe what a comparison of both fields found."""
    worst = value["sample_min_cosine"]
    rows = [
        ("missing", number(value["missing"]), "in the serving field, not in the follower"),
        ("extra", number(value["extra"]), "in the follower, not in the serving field"),
        ("mismatched", number(value["mismatched"]), "another text, metadata or space"),
        ("requeued", number(value["requeued"]), "written meanwhile, and compared again"),
        (
            "sampled",
            number(value["sampled"]),
            "embedded again" + ("" if worst is None else f", worst cosine {worst:.5f}"),
        ),
    ]
    if value.get("explained"):
        rows.append(("explained", number(value["explained"]), "missing because they are in quarantine"))
    found = "equal" if value["verdict"] == "pass" else "not equal"
    head = f"{plural(value['compared'], 'document')} of {alias} compared: both fields are {found}."
    samples = columns(
        [
            ("For example:" if index == 0 else "", *map(str, sample.values()))
            for index, sample in enumerate(value["samples"])
        ]
    )
    return paragraphs(head + "\n" + columns(rows, indent=2, right=frozenset({1})), samples)


def dry_run(value: Mapping[str, Any]) -> str:
    """Describe what a cutover would do."""
    allowed = "It is allowed now." if value["allowed"] else "It is refused now, because not every gate holds."
    return paragraphs(
        f"Cutover of {value['alias']}; nothing has changed. {allowed}", gates(value["gates"]), numbered(value["steps"])
    )


def numbered(lines: Sequence[str]) -> str:
    """Number the steps of a plan."""
    return columns([(f"{index}.", line) for index, line in enumerate(lines, 1)], indent=2)
