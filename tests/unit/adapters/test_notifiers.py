"""What receivers get: on loopback, over HTTP, from alerts that fire, change and are over."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.unit.adapters.inbox import FOUND, NOON, Inbox, alert, open_inbox, telling
from undrift.adapters.notifiers.alertmanager import AlertmanagerNotifier
from undrift.adapters.notifiers.log import LogNotifier
from undrift.adapters.notifiers.pagerduty import PagerDutyNotifier
from undrift.adapters.notifiers.webhook import WebhookNotifier
from undrift.domain.alert import Event, Policy, after, with_told
from undrift.domain.finding import Severity
from undrift.errors import BadConfig, NotifierUnavailable


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with open_inbox() as inbox:
        yield inbox


def webhook(inbox: Inbox, secret: str = "s3cret") -> WebhookNotifier:
    return WebhookNotifier(f"{inbox.url}/hook", secret, now=lambda: NOON, sleep=inbox.slept.append, timeout_s=5)


def test_what_the_webhook_gets_is_signed_with_the_secret_over_time_and_body(inbox: Inbox) -> None:
    webhook(inbox).send(telling())

    ((path, headers, body),) = inbox.got
    stamp = headers["x-undrift-timestamp"]
    expected = hmac.new(b"s3cret", f"{stamp}.".encode() + body, "sha256").hexdigest()
    assert (path, stamp) == ("/hook", str(int(NOON.timestamp())))
    assert hmac.compare_digest(headers["x-undrift-signature"], f"sha256={expected}")
    assert headers["content-type"] == "application/json"
    assert json.loads(body)["version"] == "4"


def test_one_that_falters_is_asked_again_and_signed_anew(inbox: Inbox) -> None:
    inbox.answers = [500, 429]

    webhook(inbox).send(telling())

    assert len(inbox.got) == 3
    assert inbox.slept == [1.0, 2.0]
    assert len({json.dumps(body["undrift"]["id"]) for body in inbox.bodies}) == 1


@pytest.mark.parametrize(("answers", "asked"), [([500] * 9, 3), ([401] * 9, 1)], ids=["faltering", "refusing"])
def test_one_that_does_not_take_it_is_named_with_what_it_said(inbox: Inbox, answers: list[int], asked: int) -> None:
    inbox.answers = answers

    with pytest.raises(NotifierUnavailable, match=r"the webhook 127\.0\.0\.1 did not take an alert") as refused:
        webhook(inbox).send(telling())

    assert len(inbox.got) == asked
    assert refused.value.detail == f"HTTP {answers[0]}: why"


@pytest.mark.parametrize(
    "make",
    [
        lambda: WebhookNotifier("https://a/b", "", now=lambda: NOON, sleep=lambda _: None),
        lambda: WebhookNotifier("http://", "x", now=lambda: NOON, sleep=lambda _: None),
        lambda: AlertmanagerNotifier("http://", lasts_s=1.0, sleep=lambda _: None),
        lambda: PagerDutyNotifier("https://a", "", sleep=lambda _: None),
    ],
    ids=["no secret", "no host", "no alertmanager", "no key"],
)
def test_what_is_configured_wrong_is_said_at_the_beginning(make: Callable[[], object]) -> None:
    with pytest.raises(BadConfig):
        make()


def manager(inbox: Inbox) -> AlertmanagerNotifier:
    return AlertmanagerNotifier(f"{inbox.url}/am/", lasts_s=300, sleep=inbox.slept.append)


def test_an_alertmanager_gets_labels_and_an_end_that_it_will_not_reach_while_we_live(inbox: Inbox) -> None:
    notifier = manager(inbox)
    notifier.send(telling())
    notifier.send(telling(Event.RESOLVED))

    ((path, _, _), _) = inbox.got
    (fires,), (over,) = inbox.bodies
    assert path == "/am/api/v2/alerts"
    assert notifier.again_s == 75.0
    assert fires["labels"] == over["labels"]
    assert fires["labels"]["alertname"] == "UndriftProbe"
    assert (fires["startsAt"], fires["endsAt"]) == (NOON.isoformat(), (NOON + timedelta(seconds=300)).isoformat())
    assert over["endsAt"] == (NOON + timedelta(hours=1)).isoformat()


def test_an_alertmanager_is_told_that_the_other_severity_is_over(inbox: Inbox) -> None:
    told = with_told(alert(severity=Severity.WARNING), manager(inbox).name, Event.FIRING, NOON)
    worse = after(told, replace(FOUND, severity=Severity.CRITICAL), Policy())

    manager(inbox).send(telling(Event.WORSE, worse))

    ((now, before),) = inbox.bodies
    assert (now["labels"]["severity"], before["labels"]["severity"]) == ("critical", "warning")
    assert before["endsAt"] == NOON.isoformat()


def test_an_incident_of_pagerduty_is_triggered_acknowledged_and_resolved_under_one_key(inbox: Inbox) -> None:
    notifier = PagerDutyNotifier(inbox.url, "routing", sleep=inbox.slept.append)
    for event in (Event.FIRING, Event.ACKNOWLEDGED, Event.RESOLVED):
        notifier.send(telling(event))

    assert {path for path, _, _ in inbox.got} == {"/v2/enqueue"}
    assert [body["event_action"] for body in inbox.bodies] == ["trigger", "acknowledge", "resolve"]
    assert {(body["dedup_key"], body["routing_key"]) for body in inbox.bodies} == {("undrift/probe/m", "routing")}
    payload = inbox.bodies[0]["payload"]
    assert (payload["severity"], payload["source"], payload["class"]) == ("error", "undrift", "probe")
    assert inbox.bodies[0]["links"] == [{"href": "https://wiki/alerts#probe", "text": "runbook"}]


def test_a_long_key_and_long_words_fit_into_what_pagerduty_takes(inbox: Inbox) -> None:
    long = alert(subject="m" * 400, words="w" * 3000)
    notifier = PagerDutyNotifier(inbox.url, "routing", sleep=inbox.slept.append)
    notifier.send(telling(of=long, runbook="docs/operations/alerts.md#probe"))

    (body,) = inbox.bodies
    assert len(body["dedup_key"]) <= 255
    assert len(body["payload"]["summary"]) == 1024
    assert body["links"] == []


def test_the_log_is_the_louder_the_more_severe_it_is(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="undrift.alerts"):
        for severity in Severity:
            LogNotifier().send(telling(of=alert(severity=severity)))
        LogNotifier().send(telling(Event.RESOLVED))

    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING", "ERROR", "CRITICAL", "INFO"]
    assert caplog.records[-1].getMessage() == "probe/m: over: a new baseline"
