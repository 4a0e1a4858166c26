"""The verb `serve`."""

from __future__ import annotations

import threading

import click

from undrift.cli.session import Session, Verb, pass_session
from undrift.cli.stopping import Stop


@click.command(cls=Verb)
@click.option("--host", default=None, help="The address to listen on; another than this machine's own wants a token.")
@click.option("--port", type=click.IntRange(0, 65535), default=None, help="The port; 0 for any that is free.")
@pass_session
def serve(session: Session, host: str | None, port: int | None) -> None:
    """Answer HTTP calls of programs in other languages.

    They bracket their writes with it, on any ledger, until it is stopped. The token that they need is in
    $UNDRIFT_TOKEN, or in the file server.token_file.
    """
    from undrift.server import listen, serve

    with session.plane("serve") as plane:
        settings = plane.config.settings.server
        listener = listen(
            settings.host if host is None else host,
            settings.port if port is None else port,
            token=plane.config.token(),
        )
        ended = threading.Event()
        with Stop(ended.set):
            serve(
                plane,
                listener,
                on_ready=lambda: session.answer({"url": listener.url}, f"serving on {listener.url}"),
                stop=ended,
            )
