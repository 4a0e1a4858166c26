"""Apprise passes on what it is told, to a service on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.adapters.inbox import Inbox, open_inbox, telling
from undrift.adapters.notifiers.apprise import AppriseNotifier
from undrift.domain.alert import Event
from undrift.errors import BadConfig, NotifierUnavailable

pytest.importorskip("apprise")
# Its e-mail plugin looks for a module that newer Pythons have not.
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with open_inbox() as inbox:
        yield inbox


@pytest.fixture
def json_service(inbox: Inbox) -> AppriseNotifier:
    return AppriseNotifier(f"json://{inbox.url.removeprefix('http://')}/path", number=1)


def test_apprise_passes_on_the_words_the_next_command_and_the_runbook(
    inbox: Inbox, json_service: AppriseNotifier
) -> None:
    json_service.send(telling())
    json_service.send(telling(Event.RESOLVED))

    fires, over = inbox.bodies
    assert (fires["title"], fires["type"]) == ("undrift: probe/m", "failure")
    for part in ("model m gives other vectors", "it looks like pooling", "undrift model check m", "alerts#probe"):
        assert part in fires["message"]
    assert (over["title"], over["type"]) == ("undrift: probe/m is over", "success")
    assert "a new baseline" in over["message"]


def test_what_apprise_could_not_send_is_not_told(inbox: Inbox, json_service: AppriseNotifier) -> None:
    inbox.answers = [500]

    with pytest.raises(NotifierUnavailable, match=r"apprise json [0-9a-f]{4} did"):
        json_service.send(telling())


def test_an_address_that_apprise_does_not_know_is_refused_without_showing_it() -> None:

    with pytest.raises(BadConfig) as refused:
        AppriseNotifier("nowhere://user:secret@host", number=3)

    assert "address 3" in refused.value.message
    assert "secret" not in f"{refused.value.message}{refused.value.detail}{refused.value.hint}"


def test_pagerduty_through_apprise_keeps_one_incident_an_alert(monkeypatch: pytest.MonkeyPatch) -> None:
    import apprise

    seen: list[str] = []
    instantiate = apprise.Apprise.instantiate

    def spied(url: str, **options: Any) -> Any:
        seen.append(url)
        return instantiate(url, **options)

    monkeypatch.setattr(apprise.Apprise, "instantiate", staticmethod(spied))
    AppriseNotifier("pagerduty://key@integration", number=1)._service("probe/m")

    assert "?dedup=undrift-" in seen[-1]
    assert "action=map" in seen[-1]
    assert instantiate(seen[-1]).dedup.startswith("undrift-")
