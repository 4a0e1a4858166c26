"""The verbs about collections that somebody else made: alias adopt, alias audit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from undrift.cli.layout import columns, number, paragraphs, steps
from undrift.cli.render import Meter, Reading
from undrift.cli.session import Amount, Session, Verb, pass_session
from undrift.cli.setup import REFUSED
from undrift.domain.adoption import SAMPLE
from undrift.domain.wording import plural
from undrift.errors import BadArgument

if TYPE_CHECKING:
    from undrift.domain.checkpoint import Progress

_SAMPLE = click.option(
    "--sample", type=click.IntRange(min=0), metavar="N", help="How many texts are embedded again; 300 by default."
)
_BUDGETS = (
    click.option("--budget-usd", type=Amount(), metavar="N", help="A paid model may cost so many dollars."),
    click.option("--budget-tokens", type=click.IntRange(min=1), metavar="N", help="It may take so many tokens."),
    click.option("--no-budget", is_flag=True, help="It may cost what it costs."),
)
#: Ids that are shown to a person.
_SHOWN = 5


def with_budgets(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let a verb be told what a paid model may cost."""
    for option in reversed(_BUDGETS):
        command = option(command)
    return command


@click.command("adopt", cls=Verb)
@click.argument("name")
@click.option("--store", required=True, help="Name of the store in the configuration.")
@click.option("--collection", metavar="ADDRESS", help="Its collection; the alias's own name by default.")
@click.option("--model", "model_name", required=True, metavar="MODEL", help="The model its vectors are said to be of.")
@click.option(
    "--tags",
    type=click.Choice(["payload", "ledger"]),
    help="Where its tags go; ledger leaves every record as it is. As the address says by default.",
)
@click.option("--text", metavar="SOURCE", help="Where the texts are, if not beside the vectors; see `text`.")
@_SAMPLE
@click.option(
    "--accept",
    type=click.Choice(["foreign", "metric", "length", "texts"]),
    multiple=True,
    help="Adopt in spite of this doubt.",
)
@click.option("--accept-unproven", default="", metavar="REASON", help="Adopt without proof; goes into the history.")
@with_budgets
@pass_session
def adopt(
    session: Session,
    name: str,
    *,
    store: str,
    model_name: str,
    collection: str | None,
    tags: str | None,
    text: str | None,
    sample: int | None,
    accept: tuple[str, ...],
    accept_unproven: str,
    budget_usd: float | None,
    budget_tokens: int | None,
    no_budget: bool,
) -> None:
    """Serve a collection that is there already.

    A sample of its texts is embedded again, to prove that its vectors are the model's. When they are not, it says what
    they are as far as it can find out, and nothing is changed. Otherwise its records get tags, and the alias serves
    from them. One that was interrupted goes on with the same command.
    """
    _refuse_two_budgets(budget_usd, budget_tokens, unlimited=no_budget)
    with session.plane("adopt") as plane, session.screen.meter() as meter:
        value = plane.adopt_collection(
            name,
            store=store,
            collection=collection or name,
            model=model_name,
            tags=tags,
            text=text,
            sample=SAMPLE if sample is None else sample,
            accept=accept,
            accept_unproven=accept_unproven,
            budget_usd=budget_usd,
            budget_tokens=budget_tokens,
            unlimited=no_budget,
            on_progress=_shown(meter, name, "tagging"),
        )
    session.answer(value, _adoption(value))


@click.command("audit", cls=Verb)
@click.argument("name")
@_SAMPLE
@with_budgets
@click.pass_context
@pass_session
def audit(
    session: Session,
    context: click.Context,
    name: str,
    *,
    sample: int | None,
    budget_usd: float | None,
    budget_tokens: int | None,
    no_budget: bool,
) -> None:
    """Look which model the vectors really are of.

    Every tag and every vector, and a sample of the texts, which are embedded again. Changes nothing; exits with 3 when
    vectors of another model are found.
    """
    _refuse_two_budgets(budget_usd, budget_tokens, unlimited=no_budget)
    with session.plane("audit") as plane, session.screen.meter() as meter:
        value = plane.audit(
            name,
            sample=SAMPLE if sample is None else sample,
            budget_usd=budget_usd,
            budget_tokens=budget_tokens,
            unlimited=no_budget,
            on_progress=_shown(meter, name, "reading"),
        )
    session.answer(value, _audit(value))
    if value["verdict"] == "foreign":
        context.exit(REFUSED)


def _refuse_two_budgets(usd: float | None, tokens: int | None, *, unlimited: bool) -> None:
    if unlimited and (usd is not None or tokens is not None):
        raise BadArgument("--no-budget and a budget are both given", hint="leave one of them out")


def _shown(meter: Meter, name: str, doing: str) -> Callable[[Progress], None]:
    return lambda progress: meter.show(Reading(label=f"{name}: {doing}", done=progress.done, total=progress.total))


def _adoption(value: Mapping[str, Any]) -> str:
    proof = value["proof"]
    rows = [
        ("field", f"{value['field']}, space {value['space']}"),
        ("proof", _proof(proof)),
        ("tags", f"{number(value['tagged'])} written, in the {value['tags']}"),
    ]
    left = ", ".join(f"{number(count)} {why.replace('_', ' ')}" for why, count in value["untagged"].items() if count)
    if left:
        rows.append(("untagged", left))
    if value["accepted"]:
        rows.append(("accepted", "; ".join(one["detail"] for one in value["accepted"])))
    return f"adopted {value['alias']}: {value['verdict']}\n{columns(rows, indent=2)}\n{steps(value['next_steps'])}"


def _audit(value: Mapping[str, Any]) -> str:
    foreign, sample = value["foreign"], value["sample"]
    spaces = ", ".join(f"{number(count)} of {space}" for space, count in value["by_space"].items())
    rows = [
        ("field", f"{value['field']}, model {value['model']}"),
        ("records", f"{number(value['records'])}: {number(value['tagged'])} tagged, {number(value['untagged'])} not"),
        *([("spaces", spaces)] if spaces else []),
        ("foreign", f"{number(foreign['count'])} ({foreign['share']:.2%}){_some(foreign['ids'])}"),
        *([("sample", _proof(sample))] if sample else []),
    ]
    explained = [one["detail"] for one in sample["explanations"]] if sample else []
    seen = "\n".join(f"Not seen: {one}" for one in value["not_seen"])
    return paragraphs(
        f"{value['alias']}: {value['verdict']}\n{columns(rows, indent=2)}",
        "\n".join(explained),
        seen,
        steps(value["next_steps"]),
    )


def _proof(proof: Mapping[str, Any]) -> str:
    low, high = proof["interval"]
    if not proof["compared"]:
        return "no text could be compared"
    known = "of all records" if low == high else f"so {low:.2%} to {high:.2%} of all are not"
    return f"{number(proof['matched'])} of {plural(proof['compared'], 'vector')} are the model's, {known}"


def _some(ids: list[str]) -> str:
    return f": {', '.join(ids[:_SHOWN])}{' …' if len(ids) > _SHOWN else ''}" if ids else ""
