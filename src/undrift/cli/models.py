"""The verbs about models and aliases: what is configured, and what it means now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from undrift.cli import lineage_page
from undrift.cli.layout import columns, number, paragraphs, steps
from undrift.cli.lineage import about_training
from undrift.cli.session import Assignment, Session, Verbs, pass_session, toml_values
from undrift.domain.wording import plural
from undrift.errors import BadArgument


@click.group(cls=Verbs)
def model() -> None:
    """Embedding models of the configuration."""


@model.command("add")
@click.argument("name")
@click.option("--provider", help="hashing, wordllama, sentence_transformers, callable, openai, and others.")
@click.option(
    "--from",
    "origin",
    metavar="PLACE",
    help="A fine-tuned model instead: a folder, mlflow:models:/NAME/VERSION, or hf:ORG/NAME@COMMIT.",
)
@click.option("--name", "model_name", metavar="MODEL", help="What the provider calls the model.")
@click.option("--dimensions", type=click.IntRange(min=1), help="Length of its vectors, where it can be chosen.")
@click.option("--base-url", metavar="URL", help="Where an OpenAI-compatible server answers.")
@click.option("--path", type=click.Path(path_type=Path), metavar="DIR", help="Where a local model lies.")
@click.option("--function", metavar="MODULE:NAME", help="The Python function of a callable model.")
@click.option(
    "--option", "options", type=Assignment(), multiple=True, metavar="KEY=VALUE", help="Any other key of the provider."
)
@about_training
@click.option("--reason", default="", metavar="WHY", help="Why a fine-tuned model was trained.")
@pass_session
def add_model(
    session: Session,
    /,
    name: str,
    *,
    provider: str | None,
    origin: str | None,
    model_name: str | None,
    options: tuple[tuple[str, str], ...],
    **known: Any,
) -> None:
    """Add a model to the configuration, once it has answered.

    It embeds the probe texts, by which it is recognised from then on. With --from, where it comes from is recorded as
    well: its lineage.
    """
    from undrift.control.ancestry import Training

    training = Training(**{field.name: known.pop(field.name) for field in fields(Training)})
    if (provider is None) == (origin is None):
        raise BadArgument(
            f"model {name} needs --provider or --from, one of them",
            hint=f"undrift model add {name} --provider PROVIDER, or --from FOLDER for a fine-tuned one",
        )
    if origin is None and training != Training():
        raise BadArgument(
            f"what is said of the training of {name} belongs to a model that is added with --from",
            hint=f"undrift model add {name} --provider {provider} …, then undrift model record {name} …",
        )
    values = {"name": model_name, **{key: value for key, value in known.items() if key != "path"}}
    values["path"] = None if known["path"] is None else str(known["path"])
    given = {key: value for key, value in values.items() if value is not None}
    more = toml_values(options)
    if twice := sorted(given.keys() & more.keys()):
        raise BadArgument(f"{', '.join(twice)} is given twice", hint=f"leave out --option {twice[0]}=…")
    with session.plane() as plane:
        if origin is not None:
            # A person means a folder from where they are.
            origin = origin if origin.startswith(("hf:", "mlflow:")) else str(Path(origin).expanduser().absolute())
            shown = plane.register_model(name, origin, training, {**given, **more})
            lived = f"\n\nlineage\n{lineage_page.checkpoint(shown['checkpoint'])}"
            plain = {key: value for key, value in shown.items() if key != "checkpoint"}
            session.answer(shown, f"added model {name}\n{_model(plain)}{lived}")
            return
        shown = plane.add_model(name, str(provider), {**given, **more})
    session.answer(shown, f"added model {name}\n{_model(shown)}")


@model.command("list")
@pass_session
def list_models(session: Session) -> None:
    """List the configured models; none of them is called."""
    with session.plane() as plane:
        models = plane.models()
    rows = [(one["name"], one["provider"], _options(one)) for one in models]
    session.answer(models, columns([("MODEL", "PROVIDER", "OPTIONS"), *rows]) if models else "no model is configured")


@model.command("show")
@click.argument("name")
@pass_session
def show_model(session: Session, name: str) -> None:
    """Show a model's space, and what it serves.

    The model embeds its probe texts, to prove that it is still the one it was.
    """
    with session.plane() as plane:
        shown = plane.show_model(name)
    session.answer(shown, f"{name}\n{_model(shown)}")


@model.command("equal")
@click.argument("left")
@click.argument("right", required=False)
@click.option("--dry-run", is_flag=True, help="Only compare; keep nothing.")
@click.option("--revoke", is_flag=True, help="Take back what was proved of LEFT.")
@pass_session
@click.pass_context
def equal_models(
    context: click.Context,
    session: Session,
    /,
    left: str,
    right: str | None,
    *,
    dry_run: bool,
    revoke: bool,
) -> None:
    """Prove that two models are one, whatever they are called.

    Where they are, the one without vectors stands for the other: nothing is embedded again. Exit code 0: equal,
    3: different, 4: not known.
    """
    if (right is None) != revoke:
        raise BadArgument("two models are compared, or a proof about one is revoked", hint="undrift model equal A B")
    with session.plane() as plane:
        if right is None:
            shown = plane.unequal(left)
            session.answer(shown, f"model {left} has its own space again, {shown['space']}")
            return
        shown = plane.equal(left, right, keep=not dry_run)
    session.answer(shown, paragraphs(_equality(shown), steps(shown.get("next_steps", []))))
    if shown["verdict"] != "equal":
        context.exit(3 if shown["verdict"] == "different" else 4)


def _equality(shown: Mapping[str, Any]) -> str:
    head = f"models {shown['left']} and {shown['right']}: {shown['verdict']}"
    rows = [("spaces", f"{shown['left_space']}, {shown['right_space']}")]
    if "probes" in shown:
        rows += [
            ("displacement", f"{shown['displacement']:.1e} on average, at most {shown['at_most']:.1e}"),
            ("worst probe", f"{shown['worst']:.1e} of {shown['probes']}"),
            ("noise floor", f"{shown['noise_floor']:.1e}"),
        ]
    if shown["reason"]:
        rows.append(("reason", shown["reason"]))
    if shown["verdict"] == "equal" and "probes" in shown:
        rows.append(("from now on", shown["stands_for"] or "nothing changes"))
    return f"{head}\n{columns(rows, indent=2)}"


def _options(model: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in model.items() if key not in ("name", "provider"))


def _model(shown: Mapping[str, Any]) -> str:
    price = (
        f"${shown['usd_per_million_tokens']:g} a million tokens"
        if shown["usd_per_million_tokens"]
        else "price not known"
    )
    known = {
        "provider": shown["provider"],
        "space": shown["space"],
        **{key: value for key, value in shown.items() if key not in _NOT_OF_THE_SPACE and value not in (None, "")},
        "cost": price if shown["paid"] else "none",
        "serves": ", ".join(shown["serves"]) or "no alias",
    }
    return columns([(key.replace("_", " "), str(value)) for key, value in known.items()], indent=2)


_NOT_OF_THE_SPACE = frozenset({"name", "provider", "space", "paid", "usd_per_million_tokens", "serves"})


@click.group(cls=Verbs)
def alias() -> None:
    """Collections under stable names."""


@alias.command("create")
@click.argument("name")
@click.option("--store", required=True, help="Name of its store in the configuration.")
@click.option("--model", "model_name", required=True, metavar="MODEL", help="Name of the model it begins with.")
@click.option("--collection", help="Name of its collection in the store; the alias's own by default.")
@click.option(
    "--mirror",
    type=click.Choice(["journal", "inline"]),
    default="journal",
    show_default=True,
    help="inline: a write during a migration also waits until the other field has it.",
)
@pass_session
def create_alias(
    session: Session, name: str, *, store: str, model_name: str, collection: str | None, mirror: str
) -> None:
    """Make an empty collection under a new name.

    It is added to the configuration.
    """
    with session.plane() as plane:
        shown = plane.create_alias(name, store=store, collection=collection or name, model=model_name, mirror=mirror)
        shown["clients"] = []
    session.answer(shown, f"created alias {name}\n{_alias(shown)}")


@alias.command("show")
@click.argument("name")
@pass_session
def show_alias(session: Session, name: str) -> None:
    """Show what an alias means now, and which processes use it."""
    with session.plane() as plane:
        shown = plane.show_alias(name)
    session.answer(shown, f"{name}\n{_alias(shown)}")


@alias.command("list")
@pass_session
def list_aliases(session: Session) -> None:
    """List every alias with the model it is served by."""
    with session.plane() as plane:
        aliases = plane.aliases()
    rows = [
        (
            one["alias"],
            one["serving"]["model"] or "",
            f"{one['serving']['store']}/{one['serving']['collection']}",
            "" if one["serving"]["documents"] is None else number(one["serving"]["documents"]),
            "not used yet"
            if one["epoch"] is None
            else f"migrating to {one['follower']['model']}"
            if one["follower"]
            else "",
        )
        for one in aliases
    ]
    head = ("ALIAS", "MODEL", "FIELD", "DOCUMENTS", "")
    session.answer(aliases, columns([head, *rows], right=frozenset({3})) if rows else "there is no alias")


def _alias(shown: Mapping[str, Any]) -> str:
    rows = [
        ("epoch", f"{shown['epoch']} ({shown['mode']})"),
        ("mirror", shown["mirror"]),
        ("serving", _field(shown["serving"])),
    ]
    if shown["follower"]:
        rows.append(("follower", _field(shown["follower"])))
    clients = columns(
        [
            ("Clients:" if index == 0 else "", client["role"], client["host"], f"pid {client['pid']}")
            for index, client in enumerate(shown["clients"])
        ]
    )
    return paragraphs(columns(rows, indent=2), clients)


def _field(field: Mapping[str, Any]) -> str:
    count = "documents not known" if field["documents"] is None else plural(field["documents"], "document")
    return f"{field['store']}/{field['collection']}, {count}, model {field['model']}, space {field['space']}"
