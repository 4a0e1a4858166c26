"""The verbs about probes: whether a model still gives the vectors that it gave."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from undrift.cli.layout import columns, paragraphs, steps
from undrift.cli.session import Duration, Session, Verbs, pass_session
from undrift.domain.wording import plural

#: How the exit code tells what was found: as of a refusal, and as of a back-end that failed.
_CHANGED, _UNKNOWN = 3, 4


@click.group(cls=Verbs)
def probe() -> None:
    """Fixed texts that show when a model changes silently."""


@probe.command("record")
@click.argument("model")
@click.option(
    "--repeats", type=click.IntRange(min=4), default=4, show_default=True, help="How often each probe is embedded."
)
@click.option(
    "--pause", "pause_s", type=Duration(), metavar="TIME", help="How long to wait between two calls, as in 3m."
)
@click.option(
    "--texts",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help='Texts of your own beside the shipped ones: one in a line, or JSON Lines with "text".',
)
@click.option("--alias", metavar="ALIAS", help="Take some texts of this alias's documents too.")
@click.option(
    "--drawn", type=click.IntRange(1, 200), default=8, show_default=True, help="How many texts of the alias are taken."
)
@click.option("--accept", is_flag=True, help="Put a new baseline in the place of the one that is there.")
@pass_session
def record_probes(session: Session, /, model: str, *, pause_s: float | None, **options: Any) -> None:
    """Keep what a model gives now as its baseline.

    Each probe is embedded several times, so that the model's own noise is known.
    """
    with session.plane() as plane:
        shown = plane.record_probes(model, pause_s=pause_s or 0.0, **options)
    text = f"recorded baseline {shown['baseline']} of model {model}"
    session.answer(shown, paragraphs(text + "\n" + _baseline(shown), steps(shown["next_steps"])))


@probe.command("run")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@pass_session
@click.pass_context
def run_probes(context: click.Context, session: Session, models: tuple[str, ...]) -> None:
    """Look at models now, by default at every one with a baseline.

    A change is confirmed by a second look. Exit code 0: unchanged, 3: changed, 4: not known. Unless one model is named,
    the JSON form is a list.
    """
    with session.plane() as plane:
        shown = plane.run_probes(models)
    session.answer(shown[0] if len(models) == 1 else shown, paragraphs(*map(_look, shown)) or "no model has a baseline")
    found = {one["verdict"] for one in shown}
    if found - {"unchanged"}:
        context.exit(_CHANGED if "changed" in found else _UNKNOWN)


@probe.command("list")
@pass_session
def list_probes(session: Session) -> None:
    """List the baselines, and what the last look found."""
    with session.plane() as plane:
        shown = plane.probe_lists()
    rows = [
        (
            one["model"],
            str(one["baseline"]),
            str(one["probes"]),
            f"{one['noise_floor']:.1e}",
            one["verdict"] or "not looked at yet",
            one["last_look"] or "",
        )
        for one in shown
    ]
    head = ("MODEL", "BASELINE", "PROBES", "NOISE", "VERDICT", "LAST LOOK")
    session.answer(shown, columns([head, *rows], right=frozenset({1, 2, 3})) if rows else "no model has a baseline")


def _baseline(shown: Mapping[str, Any]) -> str:
    strata = ", ".join(f"{count} {name}" for name, count in shown["strata"].items())
    left_out = f", {shown['left_out']} left out that the model does not take" if shown["left_out"] else ""
    rows = [
        ("space", shown["space"]),
        ("probes", f"{shown['probes']} ({strata}){left_out}"),
        ("repeats", str(shown["repeats"])),
        ("noise floor", f"{shown['noise_floor']:.1e}" if shown["noise_floor"] else "none: every call gives the same"),
        ("numbers", shown["rounding"]),
    ]
    return columns(rows, indent=2)


def _look(shown: Mapping[str, Any]) -> str:
    head = f"model {shown['model']}: {shown['verdict']}"
    if shown["cosine"] is None:
        return paragraphs(f"{head}\n  {shown['problem']}", steps(shown["next_steps"]))
    rows = [
        ("displacement", f"{shown['displacement']:.1e} on average, beside a noise of {shown['noise_floor']:.1e}"),
        ("p-value", f"{shown['statistic']:.1e}, an alarm from {shown['threshold']:.0e}"),
        ("cosine", f"mean {shown['cosine']['mean']:.6f}, least {shown['cosine']['min']:.6f}"),
        ("probes", f"{plural(shown['probes'], 'probe')}, {shown['moved']} moved by themselves"),
    ]
    diagnosis = shown["diagnosis"]
    if diagnosis is not None:
        worst = sorted(shown["by_stratum"].items(), key=lambda item: -item[1])[:4]
        rows += [
            ("severity", shown["severity"]),
            ("looks like", diagnosis["words"]),
            ("most moved", ", ".join(f"{name} {size:.1e}" for name, size in worst)),
        ]
    return paragraphs(head + "\n" + columns(rows, indent=2), steps(shown["next_steps"]))
