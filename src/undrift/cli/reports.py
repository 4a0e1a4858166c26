"""What people read about a migration: status, verification, and the steps of a change of the route."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from undrift.cli.following import between, spent
from undrift.cli.layout import columns, duration, number, paragraphs, steps
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
    return paragraphs(f"{head}\n{body}", workers(value["workers"]), gates(value["gates"]), tail)


def workers(values: Sequence[Mapping[str, Any]]) -> str:
    """Describe the processes at work, a line each; nothing when one or none is, of whom the rest tells all."""
    if len(values) < 2:
        return ""
    head = ("WORKER", "ROLE", "DOCUMENTS", "A SECOND", "IN HAND")
    rows = [
        (
            f"{one['host']} {one['pid']}",
            one["role"],
            number(one["documents"]),
            number(one["rate_per_s"]) if one.get("rate_per_s") else "",
            plural(one["pieces_in_hand"], "piece"),
        )
        for one in values
    ]
    return columns([head, *rows], right=frozenset({2, 3}))


def _progress(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    progress = value["progress"]
    share = f" ({progress['done'] / progress['total']:.0%})" if progress["total"] else ""
    parts = [f"{number(progress['done'])} of {plural(progress['total'], 'document')}{share}"]
    if progress["rate_per_s"]:
        parts.append(f"{number(progress['rate_per_s'])} a second")
    if progress["eta_s"]:
        parts.append(f"about {duration(progress['eta_s'])} left{between(progress)}")
    oldest = f", the oldest for {duration(value['oldest_dirty_s'])}" if value["oldest_dirty_s"] else ""
    way_back = [("way back", "ready: a rollback can begin at once" if value["rollback_ready"] else "not ready")]
    return [
        ("progress", ", ".join(parts)),
        ("dirty", f"{number(value['dirty'])}{oldest}"),
        ("quarantine", number(value["quarantined"])),
        *_overlong(value.get("overlong", {})),
        *_proof(value),
        ("cost", spent(value["cost"])),
        *_forecast(value["cost"]["forecast"]),
        *batches(value["batches"]),
        *(("pace", pace) for pace in map(_pace, value.get("pace", ())) if pace),
        *([("tuned", ", ".join(f"{key}={text}" for key, text in value["tuning"].items()))] if value["tuning"] else []),
        *first_ones(value["order"]),
        *(way_back if value["phase"] == "reversing" else []),
    ]


def _overlong(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """Tell what became of texts that the model does not take whole, where there were any."""
    fates = {"cut": "cut by the model", "split": "embedded in parts"}
    told = [f"{number(counts[name])} {fate}" for name, fate in fates.items() if counts.get(name)]
    return [("long texts", ", ".join(told))] if told else []


def _forecast(said: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Describe what the back-fill was expected to take, and how far off that was."""
    if said is None:
        return []
    span = "" if said["exact"] else f" ({number(said['low'])} to {number(said['high'])})"
    off = (
        "" if said["error"] is None else f"; it took {number(said['spent'])}, the plan was off by {said['error']:+.1%}"
    )
    return [("planned", f"{number(said['tokens'])} tokens for the back-fill{span}{off}")]


def _pace(value: Mapping[str, Any]) -> str:
    """Describe the pace of an account, where one is known."""
    amounts = ((value["requests_per_min"], "requests"), (value["tokens_per_min"], "tokens"))
    told = " and ".join(f"{number(amount)} {what}" for amount, what in amounts if amount is not None)
    guessed = ", as far as refusals tell" if value["guessed"] else ""
    shared = f", shared by {plural(value['processes'], 'process', 'processes')}" if value["processes"] > 1 else ""
    return f"at most {told} a minute{guessed}{shared}" if told else ""


def first_ones(order: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Describe what comes first in the back-fill, where anything does."""
    if order is None:
        return []
    kinds = [
        "most searched" if word == "searched" else f"highest {word.removeprefix('recent:')}" for word in order["first"]
    ]
    left = f"; {number(order['left'])} known and to be carried" if order.get("left") else ""
    return [("first", f"{number(order['documents'])} documents each: {', then '.join(kinds)}{left}")]


def _proof(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Describe the last verification and what was written past undrift, where there is something to say."""
    rows = []
    found, suspicion = value.get("verification"), value.get("reconciliation")
    # Where gates are shown, theirs says it.
    if (
        found
        and found["verdict"]
        and value["phase"] not in ("done", "aborted")
        and not value["gates"]
        and (found["stale"] or found["touched"])
    ):
        old = ", stale" if found["stale"] else ""
        text = f"{found['verdict']}, {duration(found['age_s'])} ago{old}, {number(found['touched'])} touched since"
        rows.append(("verified", text))
    if found and found["running"]:
        rows.append(("verifying", f"{number(found['running']['compared'])} documents so far"))
    if suspicion and (suspicion["needed"] or suspicion["foreign"]):
        state = "settled" if suspicion["settled"] else suspicion["needed"] or "not settled"
        held = f", {number(suspicion['held'])} set aside" if suspicion["held"] else ""
        rows.append(("foreign", f"{number(suspicion['foreign'])} found{held}, {state}"))
    return rows


def batches(jobs: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Describe the batch jobs of a migration: those that go on one by one, the others together."""
    rows = []
    ended = [job for job in jobs if job["state"] == "done"]
    for job in (one for one in jobs if one["state"] != "done"):
        state = job["provider_status"] if job["state"] == "running" else job["state"]
        parts = [f"{job['batch'] or job['id']}: {str(state).replace('_', ' ')}"]
        parts.append(f"{number(job['completed'])} of {plural(job['items'], 'text')}")
        parts += [f"{number(job['failed'])} refused"] if job["failed"] else []
        parts += [f"over by {job['expires'][:16].replace('T', ' ')} UTC at the latest"] if job["expires"] else []
        parts += [job["reason"]] if job["reason"] else []
        rows.append(", ".join(parts))
    if ended:
        texts, unused = sum(job["completed"] for job in ended), sum(job["unused"] or 0 for job in ended)
        vain = f", {number(unused)} of them for texts that changed meanwhile" if unused else ""
        rows.append(f"{plural(len(ended), 'job')} done: {plural(texts, 'text')}{vain}")
    return [("batches" if not place else "", row) for place, row in enumerate(rows)]


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
            ("copies compared" if value.get("copied") else "embedded again")
            + ("" if worst is None else f", worst cosine {worst:.5f}"),
        ),
    ]
    if value.get("explained"):
        rows.append(("explained", number(value["explained"]), "missing because they are in quarantine"))
    if value.get("bypassed"):
        rows.append(("bypassed", number(value["bypassed"]), "equal, and written past undrift in the serving field"))
    if value.get("resumed"):
        rows.append(("resumed", number(value["resumed"]), "went on after an interruption"))
    found = "equal" if value["verdict"] == "pass" else "not equal"
    head = f"{plural(value['compared'], 'document')} of {alias} compared: both fields are {found}."
    return paragraphs(head + "\n" + columns(rows, indent=2, right=frozenset({1})), _examples(value["samples"]))


def _examples(samples: Sequence[Mapping[str, Any]]) -> str:
    return columns(
        [("For example:" if index == 0 else "", *map(str, sample.values())) for index, sample in enumerate(samples)]
    )


def reconciliation(value: Mapping[str, Any]) -> str:
    """Describe what scans for writes past undrift found."""
    rows = [
        (
            f"scan {index}",
            plural(scan["compared"], "document"),
            f"{number(scan['foreign'])} foreign",
            *([f"{number(scan['held'])} set aside"] if scan["held"] else []),
            *([_window(scan["window"])] if scan["foreign"] else []),
        )
        for index, scan in enumerate(value["scans"], 1)
    ]
    found = [sample for scan in value["scans"] for sample in scan["samples"]]
    examples = list({(sample["kind"], sample["id"]): sample for sample in found}.values())
    if value["settled"]:
        head = f"{value['alias']} is reconciled: two scans in a row, the last without a foreign change."
    else:
        head = (
            f"{value['alias']} is not reconciled: two scans in a row are needed, the second without a foreign change."
        )
    tail = ""
    if value["held"]:
        held = plural(value["held"], "document")
        tail = f"Set aside: {held} in the old field that somebody wrote past undrift, and nothing replaces or deletes."
    return paragraphs(head + "\n" + columns(rows, indent=2), _examples(examples), tail, steps(value["next_steps"]))


def _window(window: Mapping[str, Any]) -> str:
    times = (str(window[key])[:19].replace("T", " ") for key in ("from", "to"))
    return f"between {' and '.join(times)} UTC, {window['per_minute']:.2g} a minute"


def adoption(value: Mapping[str, Any]) -> str:
    """Describe what was taken over from the old field."""
    head = f"adopted {plural(len(value['adopted']), 'document')} of {value['alias']} from the old field"
    left = f"not yet carried over: {', '.join(value['left'][:10])}" if value["left"] else ""
    return paragraphs(head, left, steps(value["next_steps"]))


def selftest(value: Mapping[str, Any]) -> str:
    """Describe what a selftest found."""
    found = "no difference" if value["verdict"] == "pass" else plural(value["differing"], "difference")
    worst = value["worst_cosine"]
    rows = [
        ("model", f"{value['model']} ({value['space']})"),
        ("compared", plural(value["compared"], "document") + ", with their vectors"),
        ("differing", number(value["differing"])),
        ("healed", f"{number(value['healed_rounds'])} times a verification found differences before"),
        ("worst", "no pair" if worst is None else f"cosine {worst:.6f}"),
        ("requeued", f"{number(value['requeued'])} written meanwhile, and compared again"),
        ("cost", f"{number(value['tokens'])} tokens"),
    ]
    head = f"Selftest of {value['alias']}: {found}. The scratch field {value['scratch']} is dropped."
    return paragraphs(head + "\n" + columns(rows, indent=2), _examples(value["samples"]))


def dry_run(value: Mapping[str, Any]) -> str:
    """Describe what a cutover would do."""
    allowed = "It is allowed now." if value["allowed"] else "It is refused now, because not every gate holds."
    return paragraphs(
        f"Cutover of {value['alias']}; nothing has changed. {allowed}", gates(value["gates"]), numbered(value["steps"])
    )


def numbered(lines: Sequence[str]) -> str:
    """Number the steps of a plan."""
    return columns([(f"{index}.", line) for index, line in enumerate(lines, 1)], indent=2)
