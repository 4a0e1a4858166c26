"""Writes docs/reference/cli.md from the command itself: `python -m scripts.cli_reference`.

A test fails when the page is not what this would write.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from undrift.cli.main import SECTIONS, root
from undrift.cli.session import shared_options

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "cli.md"

HEAD = """# The command line

<!-- Written by `python -m scripts.cli_reference`; a test keeps it up to date. Change the help of the verb instead. -->

Results go to standard output, everything else (progress, waits, steps, warnings, errors) to standard error. Progress
is a bar at a terminal and a line every few seconds elsewhere, with what it waits for. The time that is left is told
once 1 % is done and every document is counted.

`cutover`, `rollback`, `complete`, `cancel --drop` and `delete --filter '{}'` ask at a terminal; elsewhere they want
`--yes`.

| exit code | meaning |
| --- | --- |
"""

EXIT_CODES = {
    "0": "done",
    "1": "a defect of undrift, told in one line (`--debug` tells more); or nobody reads standard output any more",
    "2": "usage: the call, a document or the configuration is wrong",
    "3": "refused: a gate does not hold, something was not confirmed, or what was looked at is not as it should be "
    "(`verify`, `reconcile`, `adopt`, `selftest`, `doctor`, `demo`, `cutover --dry-run`)",
    "4": "a back-end failed: a store, a provider, a disk",
    "5": "conflict: another process was first; try again",
    "130, 143": "ended by Ctrl-C, by SIGTERM; the same command goes on (`worker` ends its piece, `serve` "
    "its answers, and exits with 0)",
}

OPTIONS = """
## Options of every verb

They may stand before or after the verb.
"""

JSON = """
## JSON

With `--json` a result is one JSON document, with at least these keys: `a.b` is a key in an object, `a[b]` a key in each
object of a list. An error is `{"error": {"kind", "message", "detail", "hint"}}` on standard error. `export` writes JSON
Lines in any case, `get` only without `--json`; `status --watch --json` writes a document a line.
"""

_STATUS = (
    *(
        "alias",
        "phase",
        "run_status",
        "serving.field",
        "serving.space",
        "follower",
        "epoch",
        "waiting_for",
        "paused_by",
        "tuning",
        "order",
    ),
    *("progress.total", "progress.done", "progress.rate_per_s", "progress.eta_s", "dirty", "oldest_dirty_s"),
    *("quarantined", "cost.tokens", "cost.usd", "cost.budget_usd", "rollback_ready", "next_steps"),
    *("progress.eta_least_s", "progress.eta_most_s", "cost.reserved_tokens", "cost.left_tokens", "workers", "pace"),
    *("gates[name]", "gates[verdict]", "gates[detail]", "gates[hint]"),
)
_ALIAS = (
    "alias",
    "epoch",
    "mode",
    "mirror",
    "serving.store",
    "serving.collection",
    "serving.space",
    "follower",
    "clients",
)
_CHECKPOINT = (
    *("model", "space", "hash", "origin", "base", "parent", "data", "recipe", "code", "author", "reason", "moment"),
    *("evaluations", "promotions", "children", "retired", "serves"),
)
#: The keys that other programs may rely on, by verb: `a.b` is a key in an object, `a[b]` one in each object of a list.
SHAPES: dict[str, tuple[str, ...]] = {
    "init": ("config", "next_steps"),
    "doctor": ("verdict", "checks[check]", "checks[verdict]", "checks[detail]", "checks[hint]", "next_steps"),
    "demo": (
        *("documents", "searches", "failed_searches", "writes", "deletes", "kills", "lost", "resurrected", "stale"),
        *("mixed", "wrong_space_answers", "ndcg_at_10.before", "ndcg_at_10.after", "tokens", "seconds"),
    ),
    "model add, model show": ("name", "provider", "space", "dimensions", "metric", "paid", "serves"),
    "model equal": ("left", "right", "left_space", "right_space", "verdict", "reason", "stands_for", "next_steps"),
    "probe record": (
        *("model", "space", "baseline", "recorded", "probes", "strata", "left_out", "repeats", "noise_floor", "fleet"),
        *("rounding", "next_steps"),
    ),
    "probe run": (
        *("model", "space", "baseline", "probes", "statistic", "threshold", "verdict", "noise_floor", "cosine.mean"),
        *("cosine.min", "displacement", "by_stratum", "moved", "exactly_equal", "broken", "severity", "looks"),
        *("diagnosis", "next_steps"),
    ),
    "alias create, alias show": _ALIAS,
    "alias adopt": (
        *("alias", "field", "space", "tags", "proof.sampled", "proof.compared", "proof.matched", "proof.share"),
        *("proof.interval", "proof.median_distance", "proof.noise_floor", "proof.unreadable", "proof.tokens"),
        *("accepted", "tagged", "untagged.foreign", "untagged.without_text", "untagged.changed", "foreign.count"),
        *("foreign.ids", "verdict", "next_steps"),
    ),
    "alias audit": (
        *("alias", "field", "model", "space", "records", "tagged", "untagged", "stale_tags", "by_space"),
        *("foreign.count", "foreign.share", "foreign.ids", "foreign.by_vector", "foreign.confirmed", "foreign.cleared"),
        *("foreign.by_tag", "foreign.detectable", "sample", "not_seen", "verdict", "next_steps"),
    ),
    "put": ("alias", "written", "epoch"),
    "get": ("alias", "documents[id]", "documents[text]", "documents[metadata]", "missing"),
    "delete": ("alias", "deleted", "missing", "epoch"),
    "search": ("alias", "space", "epoch", "hits[id]", "hits[score]", "hits[text]", "hits[metadata]"),
    "export": ("id", "text", "metadata", "space", "hash", "sequence"),
    "plan": (
        *(
            "alias",
            "source",
            "target",
            "layout",
            "documents",
            "unique_texts",
            "duplicates",
            "cached",
            "order",
        ),
        *("tokens", "tokens_are", "tokens_interval", "tokens_rest_on", "sampled", "prefix_tokens"),
        *("verification_tokens", "proof_tokens", "cost_usd.online", "cost_usd.batch", "cost_usd.low", "cost_usd.high"),
        *("cost_usd.verification", "price.online", "price.batch", "hours.online", "hours.batch", "hours.batch_worst"),
        *("hours.bound_by", "hours.batch_files", "hours.batch_waves", "hours.wins", "limits", "tier"),
        *("storage_bytes", "storage_rests_on", "search", "gates", "shared_space", "warnings", "next_steps"),
    ),
    "catalogue refresh": ("feeds[feed]", "feeds[new]", "feeds[absent]", "feeds[problem]", "observations", "next_steps"),
    "catalogue notify": (
        *("alerts[id]", "alerts[event]", "alerts[key]", "alerts[severity]", "alerts[words]", "alerts[runbook]"),
        *("told", "next_steps"),
    ),
    "drift": (
        *("alias", "verdict", "findings[check]", "findings[subject]", "findings[state]", "findings[severity]"),
        *("findings[moment]", "findings[words]", "findings[detail]", "findings[hint]", "findings[figures]"),
        "next_steps",
    ),
    "watch": ("checks", "url"),
    "watch --once": (
        *("looked", "findings[check]", "findings[subject]", "findings[state]", "findings[severity]"),
        *("findings[moment]", "findings[words]", "findings[detail]", "findings[hint]", "findings[figures]"),
        *("findings[occasion]", "tellings", "problems", "alerts"),
    ),
    "alert list": (
        *("alerts[key]", "alerts[check]", "alerts[subject]", "alerts[stage]", "alerts[severity]", "alerts[began]"),
        *("alerts[since]", "alerts[looked]", "alerts[words]", "alerts[detail]", "alerts[hint]", "alerts[runbook]"),
        *("alerts[muted]", "alerts[acknowledged_by]", "silences"),
    ),
    "alert show": (
        *("key", "check", "subject", "stage", "severity", "began", "since", "looked", "words", "detail", "hint"),
        *("runbook", "muted", "acknowledged_by", "figures", "told"),
    ),
    "alert ack": (
        *("key", "check", "subject", "stage", "severity", "began", "since", "looked", "words", "detail", "hint"),
        *("runbook", "muted", "acknowledged_by"),
    ),
    "alert silence": ("key", "until", "reason", "who"),
    "alert unsilence": ("key",),
    "start, status ALIAS, pause, resume, panic, postpone, unpostpone, tune": _STATUS,
    "cutover, rollback, complete, cancel": _STATUS,
    "worker": ("worked_on[alias]", "worked_on[phase]"),
    "verify": (
        *(
            "compared",
            "missing",
            "extra",
            "mismatched",
            "requeued",
            "sampled",
            "sample_min_cosine",
            "samples",
            "verdict",
        ),
        *("explained", "unverifiable", "bypassed", "resumed", "started", "finished", "epoch"),
    ),
    "reconcile": (
        *("alias", "scans[compared]", "scans[foreign]", "scans[held]", "scans[requeued]", "scans[explained]"),
        *("scans[kinds]", "scans[samples]", "scans[window]", "scans[started]", "scans[finished]", "scans[verdict]"),
        *("settled", "held", "needs_reconcile", "verdict", "next_steps"),
    ),
    "adopt": ("alias", "adopted", "left", "next_steps"),
    "selftest": (
        *("alias", "model", "space", "scratch", "compared", "differing", "kinds", "samples", "requeued"),
        *("healed_rounds", "worst_cosine", "tokens", "verdict"),
    ),
    "cutover --dry-run": ("alias", "allowed", "steps", "gates[name]", "gates[verdict]", "gates[detail]", "gates[hint]"),
    "golden import": ("set", "queries", "next_steps"),
    "model record": _CHECKPOINT,
    "model lineage": (
        "models[model]",
        *(f"models[{key}]" for key in _CHECKPOINT[1:]),
        "history[kind]",
        "history[model]",
    ),
    "model trace": (
        *("alias", "id", "vectors[field]", "vectors[role]", "vectors[space]", "vectors[is_of_field]"),
        *("vectors[model]", "vectors[revision]", "vectors[checkpoints]"),
    ),
    "model promote": (
        *("model", "alias", "replaces", "reason", "author", "margin", "gates[name]", "gates[verdict]"),
        *("gates[detail]", "gates[hint]", "allowed", "migration", "next_steps"),
    ),
    "model retire": ("model", "reason", "still_named_by", "next_steps"),
    "golden compare": (
        *(
            "set",
            "alias",
            "model",
            "space",
            "against",
            "against_space",
            "metric",
            "k",
            "documents",
            "refused",
            "of",
            "queries",
        ),
        *("unjudged", "tokens", "before", "after", "gains", "verdict", "fell_most", "moment", "next_steps"),
    ),
    "golden run": ("set", "queries", "k", "space", "ndcg_at_10", "recall_at_10", "mrr_at_10", "ci95"),
    "serve": ("url",),
}
#: The same for answers that are lists of objects.
LISTS: dict[str, tuple[str, ...]] = {
    "model list": ("name", "provider"),
    "alias list": _ALIAS,
    "status": _STATUS,
    "golden list": ("set", "queries"),
    "probe list": (
        *("model", "space", "baseline", "recorded", "probes", "strata", "left_out", "repeats", "noise_floor", "fleet"),
        *("rounding", "last_look", "verdict", "displacement"),
    ),
    "catalogue list": ("channel", "model", "region"),
    "catalogue show": ("channel", "model", "region", "facts"),
    "catalogue sunsets": (
        *("channel", "model", "region", "date", "precision", "sources", "disagreeing", "history", "moved", "days_left"),
        *("level", "aliases", "owned_vectors", "tokens", "cost_usd", "hours", "latest_safe_start"),
    ),
}


def reference() -> str:
    """Return the page."""
    codes = "\n".join(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items())
    parts = [HEAD + codes, OPTIONS, _table(_rows(shared_options()))]
    for title, verbs in SECTIONS:
        parts.append(f"\n## {title}\n")
        for verb in verbs:
            parts += _verb(verb, f"undrift {verb.name}")
    parts += [JSON, "| verb | keys |\n| --- | --- |"]
    parts += [f"| `{verb}` | {_keys(keys)} |" for verb, keys in SHAPES.items()]
    for verb, keys in LISTS.items():
        like = next((single.split(", ")[0] for single, others in SHAPES.items() if others is keys), "")
        parts.append(f"| `{verb}` | a list; in each of it " + (f"those of `{like}` |" if like else f"{_keys(keys)} |"))
    return "\n".join(parts).rstrip() + "\n"


def _keys(keys: tuple[str, ...]) -> str:
    return ", ".join(f"`{key}`" for key in keys)


def _verb(verb: click.Command, path: str) -> Iterator[str]:
    if isinstance(verb, click.Group):
        for name in verb.list_commands(click.Context(root)):
            yield from _verb(verb.commands[name], f"{path} {name}")
        return
    names = {option.name for option in shared_options()}
    own = [parameter for parameter in verb.params if parameter.name not in names]
    arguments = " ".join(one.make_metavar(click.Context(verb)) for one in own if isinstance(one, click.Argument))
    yield f"### `{' '.join(part for part in (path, arguments) if part)}`\n"
    yield inspect.cleandoc(verb.help or "") + "\n"
    options = _rows([one for one in own if isinstance(one, click.Option)])
    if options:
        yield _table(options) + "\n"


def _rows(options: list[click.Parameter]) -> list[tuple[str, str]]:
    rows = []
    for option in options:
        if not isinstance(option, click.Option):
            continue
        value = "" if option.is_flag else f" {_value(option)}"
        notes = [option.help or ""]
        if option.required:
            notes.append("Required.")
        if isinstance(option.type, click.Choice):
            notes.append(f"One of {', '.join(map(str, option.type.choices))}.")
        if option.multiple:
            notes.append("May be given several times.")
        if option.show_default and option.default is not None:
            notes.append(f"Default: {option.default}.")
        rows.append((f"`{', '.join(option.opts)}{value}`", " ".join(notes).replace("|", "\\|")))
    return rows


def _value(option: click.Option) -> str:
    if isinstance(option.type, click.Choice):
        return (option.name or "").upper()
    return option.metavar or option.type.name.split(" ")[0].upper()


def _table(rows: list[tuple[str, str]]) -> str:
    return "\n".join(["| option | meaning |", "| --- | --- |", *(f"| {name} | {meaning} |" for name, meaning in rows)])


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
