"""How lineage, comparisons and promotions are written for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from undrift.cli.layout import columns, number, paragraphs, steps
from undrift.cli.reports import gates
from undrift.domain.wording import plural

#: What a tree is drawn with: before a child, before the last one, and under each.
_BRANCH, _LAST, _UNDER, _NOTHING = "├─ ", "└─ ", "│  ", "   "


def checkpoint(one: Mapping[str, Any]) -> str:
    """Describe a checkpoint."""
    return columns([(title, text) for title, text in _said(one)], indent=2)


def tree(models: Sequence[Mapping[str, Any]]) -> str:
    """Draw the family tree of checkpoints, the base of each line at its root."""
    if not models:
        return "no checkpoint is recorded"
    known = {one["model"] for one in models}
    roots: dict[str, list[Mapping[str, Any]]] = {}
    for one in models:
        if one["parent"] not in known:
            roots.setdefault(one["base"] or "base not known", []).append(one)
    lines = []
    for base, begun in sorted(roots.items()):
        lines.append(base)
        lines += _under(begun, models, "")
    return "\n".join(lines)


def history(entries: Sequence[Mapping[str, Any]]) -> str:
    """List entries, the oldest first."""
    rows = [(_day(one), one["kind"], one["model"], one.get("author", ""), _event(one)) for one in entries]
    return columns([("WHEN", "WHAT", "MODEL", "WHO", ""), *rows]) if rows else "no checkpoint is recorded"


def trace(value: Mapping[str, Any]) -> str:
    """Describe where the vectors of a document come from."""
    parts = [f"{value['id']} in {value['alias']}"]
    for vector in value["vectors"]:
        rows = [("space", vector["space"] or "none: its record carries no tag")]
        if not vector["is_of_field"] and vector["space"]:
            rows.append(("", "which is not the space of this field: undrift alias audit finds out more"))
        if vector["model"]:
            rows.append(("model", f"{vector['model']}, revision {vector['revision']}"))
        for one in vector["checkpoints"]:
            line = [f"{up['model']} ({up['hash']})" for up in one["ancestors"]]
            rows += [(title, text) for title, text in _said(one) if title not in ("space", "base", "parent")]
            rows.append(
                ("trained from", " ← ".join([*line, *([one["base"]] if one["base"] else [])]) or "not recorded")
            )
            if one["promotion"]:
                rows.append(("promoted", _event(one["promotion"])))
        if vector["model"] and not vector["checkpoints"]:
            rows.append(("lineage", f"not recorded: undrift model record {vector['model']}"))
        parts.append(f"{vector['role']} field {vector['field']}\n{columns(rows, indent=2)}")
    return paragraphs(*parts)


def comparison(value: Mapping[str, Any]) -> str:
    """Describe how two models compare."""
    k = value["k"]
    rows = [("", value["against"], value["model"], "GAIN", "95 % INTERVAL")]
    for key, title in (("ndcg", "nDCG"), ("recall", "recall"), ("mrr", "MRR")):
        name = f"{key}_at_{k}"
        gain = value["gains"][name]
        low, high = gain["ci95"]
        before, after = value["before"][name], value["after"][name]
        interval = f"{low:+.4f} to {high:+.4f}"
        rows.append((f"{title}@{k}", f"{before:.4f}", f"{after:.4f}", f"{gain['mean']:+.4f}", interval))
    some = "" if value["documents"] == value["of"] else f" of {number(value['of'])}"
    head = (
        f"{value['set']} on {value['alias']}: {plural(value['queries'], 'query', 'queries')}, "
        f"{number(value['documents'])}{some} documents"
        + (f", of which {value['model']} refuses {number(value['refused'])}" if value["refused"] else "")
    )
    p = value["gains"][value["metric"]]["p_no_better"]
    words = f"{value['model']} is {value['verdict']}" if value["verdict"] != "not told apart" else "not told apart"
    fell = [(one["query"], f"{one['before']:.4f} → {one['after']:.4f}") for one in value["fell_most"]]
    told = f"Queries that fell most:\n{columns(fell, indent=2)}" if fell else ""
    chance = f"p = {p:.4f}" if p >= 0.0001 else "p < 0.0001"
    return paragraphs(head, columns(rows), f"{words} (nDCG; {chance} that it is no better)", told)


def promotion(value: Mapping[str, Any]) -> str:
    """Describe a promotion, or what one would do."""
    what = f"{value['model']} for {value['alias']}, instead of {value['replaces']}"
    if value["migration"]:
        head = f"promoted {what}: {value['reason']}"
    else:
        allowed = "It is allowed now." if value["allowed"] else "It is refused now, because not every gate holds."
        head = f"Promotion of {what}; nothing has changed. {allowed}"
    return paragraphs(head, gates(value["gates"]), steps(value["next_steps"]))


def _under(children: Sequence[Mapping[str, Any]], models: Sequence[Mapping[str, Any]], indent: str) -> list[str]:
    lines = []
    for place, one in enumerate(children):
        last = place == len(children) - 1
        own = [other for other in models if other["parent"] == one["model"]]
        state = "retired" if one["retired"] else f"serves {', '.join(one['serves'])}" if one["serves"] else ""
        lines.append(f"{indent}{_LAST if last else _BRANCH}{one['model']}  {one['hash']}  {state}".rstrip())
        inner = indent + (_NOTHING if last else _UNDER)
        lines += [f"{inner}{_UNDER if own else _NOTHING}{line}" for line in _lived(one)]
        lines += _under(own, models, inner)
    return lines


def _lived(one: Mapping[str, Any]) -> list[str]:
    why = f": {one['reason']}" if one["reason"] else ""
    return [
        f"recorded {_day(one)} by {one['author']}{why}",
        *(_event(found) for found in one["evaluations"]),
        *(f"promoted {_day(told)} by {told['author']} {_event(told)}" for told in one["promotions"]),
    ]


def _event(entry: Mapping[str, Any]) -> str:
    match entry["kind"]:
        case "evaluation":
            return (
                f"{entry['metric']} {entry['value']:.4f} on {entry['golden']}, {entry['gain']:+.4f} "
                f"({entry['gain_low']:+.4f} to {entry['gain_high']:+.4f}) against {entry['against']}"
            )
        case "promotion":
            return f"to {entry['alias']}: {entry['reason']}"
        case "checkpoint":
            from_what = entry["parent"] or entry["base"]
            return " ".join(filter(None, [entry["hash"], f"from {from_what}" if from_what else "", entry["reason"]]))
        case _:
            return str(entry["reason"])


def _said(one: Mapping[str, Any]) -> list[tuple[str, str]]:
    titles = ("hash", "origin", "space", "base", "parent", "data", "recipe", "code", "author", "reason")
    return [(title, str(one[title])) for title in titles if one[title]]


def _day(entry: Mapping[str, Any]) -> str:
    return str(entry["moment"])[:10]
