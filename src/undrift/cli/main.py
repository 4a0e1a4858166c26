"""The command `undrift`: its verbs, and how it ends."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Sequence
from itertools import takewhile
from types import FrameType
from typing import Any, NoReturn

import click

from undrift import __version__
from undrift.cli import (
    adopting,
    alerts,
    catalogue,
    comparing,
    demo,
    documents,
    drift,
    golden,
    lineage,
    lookout,
    migrations,
    models,
    operations,
    probes,
    serving,
    setup,
    traffic,
)
from undrift.cli.session import Session, Verbs
from undrift.errors import BadArgument, UndriftError

#: What each part of the help is called, and the verbs in it.
SECTIONS: tuple[tuple[str, tuple[click.Command, ...]], ...] = (
    ("Set-up", (setup.init, setup.doctor, demo.demo, models.model, models.alias)),
    ("Documents", (documents.put, documents.get, documents.delete, documents.search, documents.export)),
    (
        "A migration",
        (
            migrations.plan,
            migrations.start,
            migrations.worker,
            migrations.status,
            operations.pause,
            operations.resume,
            operations.tune,
            operations.panic,
            operations.postpone,
            operations.unpostpone,
            comparing.verify,
            comparing.reconcile,
            comparing.adopt,
            traffic.cutover,
            traffic.rollback,
            traffic.complete,
            traffic.cancel,
            comparing.selftest,
        ),
    ),
    ("Quality", (golden.golden,)),
    ("The look-out", (lookout.watch, drift.drift, probes.probe, alerts.alert, catalogue.catalogue)),
    ("Other programs", (serving.serve,)),
)
#: What a shell calls a process that was ended by Ctrl-C.
_INTERRUPTED = 130


class Root(Verbs):
    """The verbs in their sections."""

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs, a section at a time."""
        for title, verbs in SECTIONS:
            with formatter.section(title):
                formatter.write_dl([(verb.name or "", verb.get_short_help_str(64)) for verb in verbs], col_max=12)


def _version(context: click.Context, _parameter: click.Parameter, asked: bool) -> None:  # noqa: FBT001 - as click calls it
    if asked:
        context.ensure_object(Session).answer({"version": __version__}, f"undrift {__version__}")
        context.exit()


@click.command(
    cls=Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 2 usage, 3 refused, 4 a back-end failed, 5 conflict.",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version and exit."
)
def root() -> None:
    """Change the embedding model behind a live vector search, without downtime and with a way back."""


for _of_models in (lineage.record, lineage.lineage, lineage.trace, lineage.promote, lineage.retire):
    models.model.add_command(_of_models)
golden.golden.add_command(lineage.compare)
models.alias.add_command(adopting.adopt)
models.alias.add_command(adopting.audit)
for _, _verbs in SECTIONS:
    for _verb in _verbs:
        root.add_command(_verb)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and end the process with its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # Known before anything is parsed, so that an error of the parsing has the right form too.
    shared = set(takewhile(lambda word: word != "--", words))
    session = Session(as_json="--json" in shared, debug="--debug" in shared)
    before = _on_termination()
    try:
        code = _run(session, words)
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
    raise SystemExit(code)


def _run(session: Session, words: list[str]) -> int:
    try:
        code = root.main(words, prog_name="undrift", standalone_mode=False, obj=session)
    except click.exceptions.NoArgsIsHelpError as error:
        if not session.as_json and error.ctx is not None:
            session.screen.note(error.ctx.get_help())
            return error.exit_code
        return _failed(session, _usage(error, "a verb is missing"), error)
    except click.UsageError as error:
        return _failed(session, _usage(error, error.format_message()), error)
    except click.ClickException as error:
        return _failed(session, BadArgument(_sentence(error.format_message())), error)
    except UndriftError as error:
        return _failed(session, error, error)
    except (click.Abort, KeyboardInterrupt):
        told = UndriftError("interrupted; what is done is kept, and the same command goes on from there")
        session.screen.error(told, as_json=session.as_json, kind="Interrupted")
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a person is told in one line, with the way to more
        return _unexpected(session, error)
    return code if isinstance(code, int) else 0


def _failed(session: Session, error: UndriftError, cause: BaseException) -> int:
    if session.debug:
        session.screen.traceback(cause)
    session.screen.error(error, as_json=session.as_json)
    return error.exit_code


def _unexpected(session: Session, error: Exception) -> int:
    if session.debug:
        session.screen.traceback(error)
    told = UndriftError(
        f"undrift failed in a way it should not: {type(error).__name__}: {error}",
        hint="run it again with --debug, and report what it says",
    )
    session.screen.error(told, as_json=session.as_json, kind=type(error).__name__)
    return told.exit_code


def _usage(error: click.UsageError, message: str) -> BadArgument:
    context = error.ctx
    usage = context.get_usage().removeprefix("Usage: ") if context else ""
    return BadArgument(_sentence(message), usage, f"{context.command_path if context else 'undrift'} --help")


def _sentence(message: str) -> str:
    """Write a message of click as all others are written: one sentence in lower case, without a full stop."""
    text = " ".join(message.split()).removesuffix(".").replace("Missing command", "a verb is missing")
    return text[:1].lower() + text[1:]


def _on_termination() -> Any:
    """Let SIGTERM unwind like an exception, so that the lease of this process is ended; return what did it before."""
    if threading.current_thread() is not threading.main_thread():
        return None

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    return signal.signal(signal.SIGTERM, end)
