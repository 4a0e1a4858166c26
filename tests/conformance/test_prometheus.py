"""The rules for Prometheus and the figures pass Prometheus' own tool, and a real Alertmanager takes our alerts.

`promtool` and `alertmanager` are looked for on the PATH, under Debian's names too (packages `prometheus` and
`prometheus-alertmanager`).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.unit.adapters.inbox import FOUND
from undrift.adapters.notifiers.alertmanager import AlertmanagerNotifier
from undrift.config import parse
from undrift.control import ControlPlane
from undrift.control.metrics import exposition
from undrift.domain.alert import Event, Policy, accepted, after, with_told
from undrift.domain.finding import Severity
from undrift.domain.telling import Telling
from undrift.watch.files import RULES

pytestmark = pytest.mark.servers

PROMTOOL = shutil.which("promtool")
ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
#: Where Debian's looks for what it shows, and without which it does not start.
TEMPLATES = Path("/usr/share/prometheus/alertmanager/default.tmpl")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")

#: What the rules make of figures, as promtool's own tests say it.
COURSE = {
    "rule_files": [str(RULES)],
    "evaluation_interval": "1m",
    "tests": [
        {
            "interval": "1m",
            "input_series": [
                {
                    "series": 'undrift_alert_firing{check="sunset",subject="kb/a/b",severity="error",muted="false"}',
                    "values": "1x30",
                },
                {
                    "series": 'undrift_alert_firing{check="probe",subject="m",severity="error",muted="true"}',
                    "values": "1x30",
                },
                {"series": 'undrift_look_last_success_timestamp_seconds{check="probe"}', "values": "0x60"},
                {"series": 'undrift_look_interval_seconds{check="probe"}', "values": "300x60"},
                {"series": "undrift_build_info", "values": "1x60"},
            ],
            "alert_rule_test": [
                {
                    "eval_time": "5m",
                    "alertname": "UndriftAlert",
                    "exp_alerts": [
                        {
                            "exp_labels": {"check": "sunset", "subject": "kb/a/b", "severity": "error"},
                            "exp_annotations": {
                                "summary": "sunset: kb/a/b",
                                "description": "undrift alert show sunset/kb/a/b",
                                "runbook_url": "docs/operations/alerts.md#sunset",
                            },
                        }
                    ],
                },
                {"eval_time": "14m", "alertname": "UndriftCheckStale", "exp_alerts": []},
                {
                    "eval_time": "30m",
                    "alertname": "UndriftCheckStale",
                    "exp_alerts": [
                        {
                            "exp_labels": {"check": "probe", "severity": "warning"},
                            "exp_annotations": {
                                "summary": "nothing is known of probe for 30m 0s",
                                "description": "undrift watch --once probe",
                                "runbook_url": "docs/operations/alerts.md#stale",
                            },
                        }
                    ],
                },
                {"eval_time": "50m", "alertname": "UndriftWatchGone", "exp_alerts": []},
            ],
        }
    ],
}


@needs_promtool
def test_the_rules_pass_promtool_and_fire_as_they_are_meant_to(tmp_path: Path) -> None:
    # YAML takes JSON.
    (tmp_path / "course.yml").write_text(json.dumps(COURSE))

    checked = subprocess.run([str(PROMTOOL), "check", "rules", str(RULES)], check=False, capture_output=True, text=True)
    tested = subprocess.run(
        [str(PROMTOOL), "test", "rules", str(tmp_path / "course.yml")], check=False, capture_output=True, text=True
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert tested.returncode == 0, tested.stdout + tested.stderr


@needs_promtool
def test_the_figures_pass_promtool(tmp_path: Path) -> None:
    pytest.importorskip("sqlite_vec")
    values = {"ledger": "sqlite:///undrift.db", "stores": {"main": {"url": "sqlite-vec:./v.db"}}}
    with ControlPlane(parse(values, tmp_path / "undrift.toml"), heartbeat=False) as plane:
        lookout = plane.look_out()
        lookout.round()
        text = exposition(plane, lookout)

    checked = subprocess.run(
        [str(PROMTOOL), "check", "metrics"], input=text, check=False, capture_output=True, text=True
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[str]:
    """The address of a real one, which listens on a free port."""
    if ALERTMANAGER is None:
        pytest.skip("no Alertmanager is installed")
    if Path(ALERTMANAGER).name == "prometheus-alertmanager" and not TEMPLATES.exists():
        pytest.skip(f"Debian's Alertmanager does not start without {TEMPLATES}")
    (tmp_path / "am.yml").write_text("route:\n  receiver: nobody\nreceivers:\n  - name: nobody\n")
    said = (tmp_path / "said").open("w+")
    process = subprocess.Popen(
        [
            ALERTMANAGER,
            f"--config.file={tmp_path / 'am.yml'}",
            f"--storage.path={tmp_path / 'data'}",
            "--web.listen-address=127.0.0.1:0",
            "--cluster.listen-address=",
            "--log.format=json",
        ],
        stdout=said,
        stderr=said,
    )
    try:
        yield f"http://{_address(process, tmp_path / 'said')}"
    finally:
        process.terminate()
        process.wait(30)
        said.close()


def _address(process: subprocess.Popen[Any], log: Path) -> str:
    """Where it says that it listens."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        for line in log.read_text().splitlines():
            said = json.loads(line)
            where = said.get("address", "")
            if "istening" in said.get("msg", "") and where and not where.endswith(":0"):
                return str(where)
        time.sleep(0.05)
    raise AssertionError(log.read_text())


def of(url: str) -> dict[str, dict[str, Any]]:
    """The alerts that it has, by severity; none that is over."""
    with urllib.request.urlopen(f"{url}/api/v2/alerts?active=true", timeout=10) as answer:
        return {one["labels"]["severity"]: one for one in json.load(answer)}


def test_a_real_alertmanager_has_our_alert_until_it_is_over(alertmanager: str) -> None:
    now = datetime.now(UTC)
    notifier = AlertmanagerNotifier(alertmanager, lasts_s=300, sleep=time.sleep)
    alert = after(None, replace(FOUND, moment=now), Policy())
    assert alert is not None
    notifier.send(Telling(alert=alert, event=Event.FIRING, moment=now, runbook="https://wiki/alerts#probe"))
    first = of(alertmanager)

    worse = after(
        with_told(alert, notifier.name, Event.FIRING, now),
        replace(FOUND, moment=now, severity=Severity.CRITICAL),
        Policy(),
    )
    assert worse is not None
    notifier.send(Telling(alert=worse, event=Event.WORSE, moment=now))
    second = of(alertmanager)
    over = accepted(with_told(worse, notifier.name, Event.WORSE, now), moment=now, why="fine")
    notifier.send(Telling(alert=over, event=Event.RESOLVED, moment=now))

    assert first["error"]["labels"]["alertname"] == "UndriftProbe"
    assert first["error"]["annotations"]["runbook_url"] == "https://wiki/alerts#probe"
    assert set(second) == {"critical"}
    assert of(alertmanager) == {}
