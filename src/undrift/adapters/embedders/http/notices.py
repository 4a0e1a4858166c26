"""What an answer says about a model's future, in its headers and beside its vectors."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from undrift.adapters.embedders.http.dialect import Reply, within
from undrift.domain.notice import ModelNotice, NoticeKind
from undrift.errors import ModelRetired
from undrift.ports.embedder import WATCH

#: Longest part of a provider's own words that is kept.
_MOST_WORDS = 500
#: Different notices that are kept; a server that counts in them would have no end.
_MOST_NOTICES = 64
#: `<https://…>; rel="deprecation"; type="text/html", <…>; rel=sunset`
_LINK = re.compile(r"<([^>]*)>\s*;[^,]*\brel=\"?([a-z-]+)")
_LINKED = {
    "deprecation": NoticeKind.DEPRECATION,
    "sunset": NoticeKind.SUNSET,
    "successor-version": NoticeKind.DEPRECATION,
}
#: `299 - "words"`, the form of a warning that does not go away (RFC 7234).
_PERSISTENT = re.compile(r"299 \S+ \"([^\"]*)\"")


def notices(reply: Reply, *, channel: str, model: str) -> list[ModelNotice]:
    """Return what an answer says beside its vectors.

    Args:
        reply: the answer, or a refusal with its headers only.
        channel: who answers.
        model: for which model.
    """
    headers = reply.headers
    links = {_LINKED[rel]: target for target, rel in _LINK.findall(headers.get("link", "")) if rel in _LINKED}
    found = []
    for kind, words in _said(headers, reply.body):
        moment = None if kind is NoticeKind.WARNING else _moment(words)
        found.append(
            ModelNotice(
                channel=channel,
                model=model,
                kind=kind,
                words=words[:_MOST_WORDS],
                moment=moment,
                link=links.get(kind, ""),
            )
        )
    return found


class Noticeboard:
    """What was said about one model in this process, each thing once; safe from any thread."""

    def __init__(self, *, channel: str, model: str) -> None:
        """Begin empty."""
        self._channel, self._model = channel, model
        self._lock = threading.Lock()
        self._notices: list[ModelNotice] = []

    @property
    def notices(self) -> list[ModelNotice]:
        """What was said, in the order in which it was first said."""
        with self._lock:
            return list(self._notices)

    def answered(self, reply: Reply) -> None:
        """Take note of what an answer says, and tell whoever watches the call."""
        for notice in notices(reply, channel=self._channel, model=self._model):
            self._take(notice)

    def refused(self, headers: Mapping[str, str], error: Exception) -> None:
        """Take note of what a refusal says."""
        self.answered(Reply(headers=headers, body={}))
        if isinstance(error, ModelRetired):
            words = error.detail.partition("\n")[0][:_MOST_WORDS]
            self._take(ModelNotice(channel=self._channel, model=self._model, kind=NoticeKind.RETIRED, words=words))

    def _take(self, notice: ModelNotice) -> None:
        with self._lock:
            if notice in self._notices or len(self._notices) >= _MOST_NOTICES:
                return
            self._notices.append(notice)
        WATCH.get().told(notice)


def _said(headers: Mapping[str, str], body: Mapping[str, Any]) -> Iterator[tuple[NoticeKind, str]]:
    # `false` is how a draft of the standard denied it.
    if headers.get("deprecation", "false").lower() != "false":
        yield NoticeKind.DEPRECATION, headers["deprecation"]
    if headers.get("sunset"):
        yield NoticeKind.SUNSET, headers["sunset"]
    if headers.get("x-api-warning"):
        yield NoticeKind.WARNING, headers["x-api-warning"]
    for words in _PERSISTENT.findall(headers.get("warning", "")):
        yield NoticeKind.WARNING, words
    warnings = within(body, "meta", "warnings")
    for warning in warnings if isinstance(warnings, list) else ():
        yield NoticeKind.WARNING, str(warning)


def _moment(words: str) -> datetime | None:
    """Read a moment as the standards write it: `@1767225600`, or a date as in mail."""
    try:
        if words.startswith("@"):
            return datetime.fromtimestamp(int(words[1:]), UTC)
        moment = parsedate_to_datetime(words)
    except (ValueError, OverflowError, OSError):
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC)
