"""What receivers get: on loopback, over HTTP, from alerts that fire, change and are over."""

from __future__ import annotations

import hmac
import json
import socket
import threading
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
        lambda: WebhookNotifier("http://[::1/b", "x", now=lambda: NOON, sleep=lambda _: None),
        lambda: WebhookNotifier("http://a:999999/b", "x", now=lambda: NOON, sleep=lambda _: None),
        lambda: WebhookNotifier(f"http://{'a' * 99}/b", "x", now=lambda: NOON, sleep=lambda _: None),
        lambda: AlertmanagerNotifier("http://", lasts_s=1.0, sleep=lambda _: None),
        lambda: PagerDutyNotifier("https://a", "", sleep=lambda _: None),
        lambda: PagerDutyNotifier("https://", "x", sleep=lambda _: None),
    ],
    ids=["no secret", "no host", "half an address", "no port", "no name", "no alertmanager", "no key", "no pagerduty"],
)
def test_what_is_configured_wrong_is_said_at_the_beginning(make: Callable[[], object]) -> None:
    with pytest.raises(BadConfig):
        make()


@pytest.mark.parametrize("status", [204, 404, 500])
def test_the_path_of_a_webhook_is_in_no_log_and_no_error(
    inbox: Inbox, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """Servers say which path they do not know, and a path such as Slack's is the secret."""
    inbox.answers = [status] * 3
    inbox.body, inbox.kind = b"<style>p {}</style><p>Cannot POST /hook/T0/s3cr3t?key=k3y &amp;", "text/html"
    url = f"{inbox.url}/hook/T0/s3cr3t?key=k3y"
    told = ""
    caplog.set_level("DEBUG")
    try:
        WebhookNotifier(url, "x", now=lambda: NOON, sleep=inbox.slept.append).send(telling())
    except NotifierUnavailable as error:
        told = error.detail

    assert "s3cr3t" not in caplog.text + told
    assert "k3y" not in caplog.text + told
    assert told in ("", f"HTTP {status}: Cannot POST … &amp;")
    assert inbox.got[0][0] == "/hook/T0/s3cr3t?key=k3y"


def test_what_was_taken_is_not_sent_again_whatever_its_answer_is_like() -> None:
    """One that promises a body and goes has taken it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        asked = []

        def answer() -> None:
            while asked[-1:] != ["end"]:
                connection, _ = server.accept()
                with connection:
                    asked.append("end" if not connection.recv(65_536) else "asked")
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Encoding: gzip\r\n\r\nx")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        WebhookNotifier(url, "x", now=lambda: NOON, sleep=lambda _: None).send(telling())
        socket.create_connection(server.getsockname()).close()
        thread.join()

    assert asked == ["asked", "end"]


def test_one_that_does_not_answer_in_time_is_left_for_later() -> None:
    """Three times its patience would hold up everybody else."""
    slept: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with pytest.raises(NotifierUnavailable, match="ReadTimeout"):
            WebhookNotifier(url, "x", now=lambda: NOON, sleep=slept.append, timeout_s=0.05).send(telling())

    assert slept == []


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
