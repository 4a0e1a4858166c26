"""plan, start, worker, status, pause, resume, tune."""

from __future__ import annotations

import json
import re
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.running import Undrift, plane_of
from tests.unit.cli.shapes import missing_keys
from undrift.cli.render import Screen
from undrift.control import ControlPlane
from undrift.control.operations import TUNABLE
from undrift.domain.migration import Phase, RunStatus
from undrift.domain.route import AliasName
from undrift.errors import ControlUnavailable
from undrift.flow.embed import EmbeddingDoor

PAID = """
[models.paid]
provider = "callable"
function = "paid_model:embed"
name = "paid"
dimensions = 8
paid = true
usd_per_million_tokens = 1000.0
"""
PAID_MODEL = """
import numpy as np

def embed(texts):
    rows = [[len(text), *(text.count(letter) + 1 for letter in "aeiouns")] for text in texts]
    return np.array(rows, dtype=np.float32)
"""


@pytest.fixture
def paid(filled: Undrift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Undrift:
    """With a model that somebody is billed for."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "paid_model.py").write_text(PAID_MODEL)
    with (tmp_path / "undrift.toml").open("a") as file:
        file.write(PAID)
    return filled


def test_a_plan_states_what_it_takes_and_changes_nothing(filled: Undrift) -> None:
    before = filled("status", "kb", "--json").json

    told, value = filled("plan", "kb", "--to", "new"), filled("plan", "kb", "--to", "new", "--json")

    assert missing_keys("plan", value.json) == []
    assert (value.json["documents"], value.json["unique_texts"]) == (300, 300)
    assert value.json["next_steps"] == ["undrift start kb --to new"]
    assert "nothing has changed" in told.out
    assert "300 different texts" in told.out
    assert filled("status", "kb", "--json").json == before


def test_a_collection_is_taken_to_another_store_and_back(filled: Undrift, tmp_path: Path) -> None:
    with (tmp_path / "undrift.toml").open("a") as file:
        file.write('\n[stores.archive]\nurl = "sqlite-vec:archive.db"\n')

    told = filled("plan", "kb", "--to-store", "archive")
    assert "copied as they are" in told.out
    started = filled("start", "kb", "--to-store", "archive", "--collection", "kb2", "--json").json
    assert (started["phase"], started["follower"]["field"]) == ("ready", "archive/kb2")
    assert started["cost"]["tokens"] == 0
    assert "300 copies compared" in filled("verify", "kb").out.replace("  ", " ")
    assert filled("start", "kb", "--to-store", "archive").code == 0
    other = filled("start", "kb", "--to", "new", "--json")
    assert (other.code, other.error["kind"]) == (5, "StaleRoute")
    assert "a migration to store archive" in other.error["message"]

    assert filled("cutover", "kb", "--yes", "--json").json["serving"]["field"] == "archive/kb2"
    assert filled("rollback", "kb", "--yes", "--json").json["serving"]["field"] == "main/kb"
    filled("cutover", "kb", "--yes")
    assert filled("complete", "kb", "--yes", "--json").json["phase"] == "done"
    assert filled("alias", "show", "kb", "--json").json["serving"]["documents"] == 300


@pytest.mark.parametrize(
    ("model", "kind"), [("other", "UnknownModel"), ("old", "BadArgument")], ids=["unknown", "the-one-that-serves"]
)
@pytest.mark.parametrize("verb", ["plan", "start"])
def test_a_migration_to_nowhere_is_refused(filled: Undrift, verb: str, model: str, kind: str) -> None:
    refused = filled(verb, "kb", "--to", model, "--json")

    assert (refused.code, refused.error["kind"]) == (2, kind)


def test_start_works_until_the_migration_is_ready(filled: Undrift) -> None:
    value = filled("start", "kb", "--to", "new", "--json")

    assert value.code == 0
    assert missing_keys("start", value.json) == []
    assert (value.json["phase"], value.json["progress"]["done"]) == ("ready", 300)
    assert value.json["waiting_for"] == "a decision: undrift cutover kb"
    assert {gate["verdict"] for gate in value.json["gates"]} == {"pass"}


def test_starting_again_says_where_it_stands(ready: Undrift) -> None:
    again = ready("start", "kb", "--to", "new")
    assert again.code == 0
    assert again.out.startswith("kb · ready\n")
    assert "Next:  undrift cutover kb" in again.out

    assert ready("cutover", "kb", "--yes").code == 0
    later = ready("start", "kb", "--to", "new")
    assert later.code == 0
    assert later.out.startswith("kb · reversing\n")
    assert "undrift complete kb" in later.out


def test_a_start_that_ends_counts_itself_out(ready: Undrift) -> None:
    ready("cutover", "kb", "--yes")
    ready("delete", "kb", "d001")

    assert ready("start", "kb", "--to", "new", "--json").json["waiting_for"].startswith("a worker: ")


def test_a_migration_that_is_being_given_up_does_not_go_on(ready: Undrift, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_args: object, **_options: object) -> None:
        raise ControlUnavailable("the ledger is gone")

    with monkeypatch.context() as patched:
        patched.setattr("undrift.migrate.runner.Runner.enter", stop)
        assert ready("cancel", "kb").code == 4
    assert ready("status", "kb", "--json").json["phase"] == "aborting"

    refused = ready("start", "kb", "--to", "new", "--json")

    assert (refused.code, refused.error["kind"], refused.error["hint"]) == (3, "IllegalTransition", "undrift cancel kb")
    assert ready("cancel", "kb", "--json").json["phase"] == "aborted"


def test_another_target_than_the_running_one_is_a_conflict(ready: Undrift, tmp_path: Path) -> None:
    assert ready("model", "add", "third", "--provider", "hashing", "--dimensions", "16").code == 0

    refused = ready("start", "kb", "--to", "third", "--json")

    assert (refused.code, refused.error["kind"]) == (5, "StaleRoute")


def test_a_detached_start_only_records_and_names_the_worker(filled: Undrift) -> None:
    value = filled("start", "kb", "--to", "new", "--detach", "--json").json

    assert missing_keys("start", value) == []
    assert (value["phase"], value["progress"]["done"]) == ("registered", 0)
    assert value["next_steps"][0] == "undrift worker kb"
    assert value["waiting_for"].startswith("a worker: undrift worker")


def test_a_paid_model_wants_a_budget(paid: Undrift) -> None:
    assert paid("plan", "kb", "--to", "paid", "--json").json["next_steps"] == [
        "undrift start kb --to paid --budget-usd N"
    ]

    refused = paid("start", "kb", "--to", "paid", "--json")

    assert (refused.code, refused.error["kind"]) == (3, "BudgetRequired")
    both = paid("start", "kb", "--to", "paid", "--no-budget", "--budget-usd", "5", "--json")
    assert (both.code, both.error["kind"]) == (2, "BadArgument")
    assert paid("status", "kb", "--json").json["phase"] == "idle"


@pytest.mark.parametrize("budget", [("--budget-usd", "0"), ("--budget-usd", "-1"), ("--budget-tokens", "0")])
def test_a_budget_that_pays_for_nothing_is_none(paid: Undrift, budget: tuple[str, str]) -> None:
    refused = paid("start", "kb", "--to", "paid", *budget, "--json")

    assert refused.code == 2
    assert budget[1] in refused.error["message"]
    assert paid("status", "kb", "--json").json["phase"] == "idle"


def test_dollars_are_no_budget_without_a_price(paid: Undrift, tmp_path: Path) -> None:
    """Nobody says what a token costs, so nobody can say when the dollars are spent."""
    file = tmp_path / "undrift.toml"
    file.write_text("\n".join(line for line in file.read_text().splitlines() if "usd_per_million" not in line))

    refused = paid("start", "kb", "--to", "paid", "--budget-usd", "5", "--json")

    assert (refused.code, refused.error["kind"]) == (3, "BudgetRequired")
    assert "price of model" in refused.error["message"]
    assert "--budget-tokens N, or --no-budget" in refused.error["hint"]
    paid("start", "kb", "--to", "paid", "--budget-tokens", "5000", "--detach")
    tuned = paid("tune", "kb", "budget_usd=5", "--json")
    assert (tuned.code, tuned.error["kind"]) == (3, "BudgetRequired")


def test_a_price_that_rises_on_the_way_is_reckoned_with(paid: Undrift, tmp_path: Path) -> None:
    """The worker that knows it tells the ledger; what was spent before keeps its price."""
    paid("start", "kb", "--to", "paid", "--budget-usd", "0.5", "--json")
    before = paid("status", "kb", "--json").json["cost"]
    file = tmp_path / "undrift.toml"
    price = before["usd_per_million_tokens"]
    file.write_text(
        re.sub(r"usd_per_million_tokens = [\d_.]+", f"usd_per_million_tokens = {price * 2}", file.read_text())
    )

    paid("tune", "kb", "budget_usd=10")
    paid("resume", "kb")
    assert paid("start", "kb", "--to", "paid", "--json").json["phase"] == "ready"

    after = paid("status", "kb", "--json").json["cost"]
    assert after["usd_per_million_tokens"] == price * 2
    expected = before["usd"] + (after["tokens"] - before["tokens"]) * price * 2 / 1e6
    assert after["usd"] == pytest.approx(expected, abs=1e-5)


def test_a_budget_stops_the_work_and_a_larger_one_lets_it_go_on(paid: Undrift) -> None:
    stopped = paid("start", "kb", "--to", "paid", "--budget-usd", "0.5", "--json")
    assert stopped.code == 3
    assert json.loads(stopped.err.splitlines()[-1])["error"]["kind"] == "BudgetExhausted"

    halted = paid("status", "kb", "--json").json
    assert halted["run_status"] == "halted"
    assert halted["waiting_for"].startswith("an operator: the migration of kb is halted")
    assert " · " not in halted["waiting_for"]
    assert halted["cost"]["budget_usd"] == 0.5
    assert halted["cost"]["usd"] <= 0.5
    refused = paid("start", "kb", "--to", "paid", "--json")
    assert (refused.code, refused.error["kind"]) == (3, "IllegalTransition")
    assert "undrift resume kb" in refused.error["hint"]

    assert paid("start", "kb", "--to", "paid", "--no-budget", "--json").code == 3, "halted, with its new budget"
    assert paid("status", "kb", "--json").json["cost"]["budget_usd"] is None
    assert paid("resume", "kb", "--json").json["run_status"] == "running"
    assert paid("start", "kb", "--to", "paid", "--json").json["phase"] == "ready"


def test_a_budget_can_be_tuned(paid: Undrift) -> None:
    paid("start", "kb", "--to", "paid", "--budget-tokens", "100", "--detach")

    tuned = paid("tune", "kb", "budget_usd=2.5", "budget_tokens=none", "--json")

    assert missing_keys("tune", tuned.json) == []
    assert (tuned.json["cost"]["budget_usd"], tuned.json["cost"]["budget_tokens"]) == (2.5, None)


@pytest.mark.parametrize(
    "setting", ["colour=red", "budget_usd=much", "budget_usd=nan", "budget_usd=-1", "budget_tokens=inf"]
)
def test_a_wrong_setting_changes_nothing(paid: Undrift, setting: str) -> None:
    paid("start", "kb", "--to", "paid", "--budget-usd", "1", "--detach")

    refused = paid("tune", "kb", "budget_usd=5", setting, "--json")

    assert (refused.code, refused.error["kind"]) == (2, "BadArgument")
    assert paid("status", "kb", "--json").json["cost"]["budget_usd"] == 1.0


@pytest.mark.parametrize(
    "words", [["pause", "kb"], ["resume", "kb"], ["tune", "kb", "budget_usd=1"], ["cutover", "kb", "--yes"]]
)
def test_verbs_of_a_migration_need_one(filled: Undrift, words: list[str]) -> None:
    refused = filled(*words, "--json")

    assert (refused.code, refused.error["kind"]) == (2, "NoMigration")


def test_a_migration_is_paused_and_resumed(filled: Undrift) -> None:
    filled("start", "kb", "--to", "new", "--detach")

    paused = filled("pause", "kb", "--json").json
    assert missing_keys("pause", paused) == []
    assert (paused["run_status"], paused["next_steps"][0]) == ("paused", "undrift resume kb")
    assert "undrift resume kb" in paused["waiting_for"]
    assert filled("worker", "--until-idle", "--json").json["worked_on"] == [{"alias": "kb", "phase": "registered"}]

    assert paused["paused_by"]["reason"] == ""

    resumed = filled("resume", "kb")
    assert resumed.out.startswith("kb · registered\n")
    assert filled("worker", "--until-idle", "--json").json["worked_on"] == [{"alias": "kb", "phase": "ready"}]


def test_settings_of_the_work_are_changed_and_asked_for(filled: Undrift, tmp_path: Path) -> None:
    with (tmp_path / "undrift.toml").open("a") as file:
        file.write('\n[aliases.kb.throttle]\nmax_lag_s = 5\nhours = "22:00-06:00"\n')
    filled("start", "kb", "--to", "new", "--detach")

    status = filled("tune", "kb", "chunk_size=32", "hours=none", "max_rows_per_s=500", "--json").json
    assert missing_keys("tune", status) == []
    assert status["tuning"] == {"chunk_size": "32", "max_rows_per_s": "500", "max_lag_s": "5"}
    assert "  tuned       chunk_size=32, max_rows_per_s=500, max_lag_s=5\n" in filled("status", "kb").out

    assert filled("tune", "kb", "chunk_size=?", "budget_usd=?").out == "chunk_size  32\nbudget_usd  none\n"
    filled("tune", "kb", "budget_tokens=1234567890")
    assert filled("tune", "kb", "budget_tokens=?").out == "budget_tokens  1234567890\n"
    asked = filled("tune", "kb", "?=?", "--json").json
    assert asked["settings"]["hours"] == "none"
    assert list(asked["settings"]) == list(TUNABLE)
    refused = filled("tune", "kb", "speed=?", "--json")
    assert (refused.code, refused.error["message"]) == (2, "there is no setting speed")


@pytest.mark.parametrize("setting", ["chunk_size=1000", "hours=night", "time_zone=Europe/Atlantis", "nice_ratio=none"])
def test_a_wrong_setting_of_the_work_changes_nothing(filled: Undrift, setting: str) -> None:
    filled("start", "kb", "--to", "new", "--detach")

    refused = filled("tune", "kb", "max_lag_s=9", setting, "--json")

    assert (refused.code, refused.error["kind"]) == (2, "BadArgument")
    assert setting.partition("=")[0] in refused.error["message"]
    assert filled("status", "kb", "--json").json["tuning"] == {}


def test_a_panic_stops_every_migration_or_one(filled: Undrift) -> None:
    assert filled("panic", "--all").out == "no migration runs\n"
    filled("start", "kb", "--to", "new", "--detach")

    (stopped,) = filled("panic", "--all", "--reason", "smoke in room 2", "--json").json
    assert missing_keys("panic", stopped) == []
    assert stopped["run_status"] == "stopped"
    assert stopped["waiting_for"].endswith(" stopped every worker, because smoke in room 2: undrift resume kb")
    assert filled("status", "kb").out.startswith("kb · registered, stopped\n")
    assert filled("pause", "kb", "--json").error["kind"] == "IllegalTransition"

    assert filled("resume", "kb", "--json").json["run_status"] == "running"
    assert filled("panic", "kb", "--json").json["run_status"] == "stopped"


@pytest.mark.parametrize("words", [[], ["kb", "--all"]], ids=["neither", "both"])
def test_a_panic_wants_an_alias_or_all(filled: Undrift, words: list[str]) -> None:
    refused = filled("panic", *words, "--json")

    assert (refused.code, refused.error["hint"]) == (2, "undrift panic --all")


def test_a_worker_works_on_every_alias(filled: Undrift, tmp_path: Path) -> None:
    assert filled("alias", "create", "more", "--store", "main", "--model", "old").code == 0
    assert filled("put", "more", "documents.jsonl").code == 0
    for alias in ("kb", "more"):
        filled("start", alias, "--to", "new", "--detach")

    only = filled("worker", "more", "--until-idle", "--json")
    assert only.json["worked_on"] == [{"alias": "more", "phase": "ready"}]
    assert missing_keys("worker", only.json) == []
    assert filled("status", "kb", "--json").json["phase"] == "registered"

    rest = filled("worker", "--until-idle")
    assert rest.out == "kb is ready\nmore is ready\n"
    assert "kb: ready · 300 of 300 (100%)" in rest.err


def test_a_worker_has_nothing_to_do_without_a_migration(filled: Undrift, run: Undrift) -> None:
    assert filled("worker", "--until-idle", "--json").json == {"worked_on": []}
    assert filled("worker", "other", "--until-idle", "--json").code == 2


def test_a_worker_waits_for_an_alias_that_is_configured_and_not_used_yet(undrift: Undrift) -> None:
    assert undrift("worker", "kb", "--until-idle", "--json").json == {"worked_on": []}


def test_a_worker_ends_with_the_error_that_halted_a_migration(paid: Undrift) -> None:
    paid("start", "kb", "--to", "paid", "--budget-tokens", "100", "--detach")

    halted = paid("worker", "--until-idle")

    assert halted.code == 3
    assert "kb: work has stopped: the next request for kb would spend more than its budget" in halted.err
    assert paid("status", "kb", "--json").json["run_status"] == "halted"


def test_a_defect_in_a_worker_is_not_hidden_by_its_thread(filled: Undrift, monkeypatch: pytest.MonkeyPatch) -> None:
    filled("start", "kb", "--to", "new", "--detach")
    monkeypatch.setattr(ControlPlane, "work", lambda *_args, **_options: 1 / 0)

    failed = filled("worker", "--until-idle")

    assert failed.code == 1
    assert "ZeroDivisionError" in failed.err


SIGNALS = pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=lambda value: getattr(value, "name", "")
)


@pytest.fixture
def signalled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[int], None]:
    """Arrange that a signal comes while the first piece of the back-fill is embedded."""

    def arrange(number: int) -> None:
        embed, asked = EmbeddingDoor.documents, threading.Event()
        monkeypatch.setattr(Screen, "at_once", lambda _self, _text: asked.set())

        def documents(self: EmbeddingDoor, *args: Any, **options: Any) -> Any:
            if not asked.is_set():
                signal.raise_signal(number)
                # Python handles signals in its main thread, which is another one than a worker's.
                assert asked.wait(30)
            return embed(self, *args, **options)

        monkeypatch.setattr(EmbeddingDoor, "documents", documents)

    return arrange


@SIGNALS
def test_an_interrupted_start_ends_its_piece_and_the_same_command_goes_on(
    filled: Undrift, signalled: Callable[[int], None], number: signal.Signals, code: int
) -> None:
    signalled(number)

    stopped = filled("start", "kb", "--to", "new")

    assert (stopped.code, stopped.out) == (code, "")
    assert filled("status", "kb", "--json").json["progress"]["done"] == 256
    assert filled("start", "kb", "--to", "new", "--json").json["phase"] == "ready"


@SIGNALS
def test_a_worker_that_is_asked_to_stop_ends_its_piece_and_is_done(
    filled: Undrift, signalled: Callable[[int], None], number: signal.Signals, code: int
) -> None:
    filled("start", "kb", "--to", "new", "--detach")
    signalled(number)

    stopped = filled("worker", "--json")

    assert stopped.code == 0
    assert stopped.json["worked_on"] == [{"alias": "kb", "phase": "backfill"}]
    assert filled("status", "kb", "--json").json["progress"]["done"] == 256
    assert filled("alias", "show", "kb", "--json").json["clients"] == []


def test_the_status_of_one_alias_is_told_whole(ready: Undrift) -> None:
    value, told = ready("status", "kb", "--json").json, ready("status")

    assert missing_keys("status kb".replace("kb", "ALIAS"), value) == []
    assert told.out.splitlines()[0] == "kb · ready"
    assert "Gates:  ok  complete" in told.out
    assert "Waiting for: a decision: undrift cutover kb" in told.out
    assert "Next:  undrift cutover kb" in told.out
    assert told.err == ""


def test_the_status_of_several_aliases_is_a_line_each(ready: Undrift) -> None:
    ready("alias", "create", "more", "--store", "main", "--model", "old")

    value, told = ready("status", "--json").json, ready("status").out.splitlines()

    assert missing_keys("status", value) == []
    assert [line.split()[:2] for line in told] == [["ALIAS", "PHASE"], ["kb", "ready"], ["more", "idle"]]


def test_the_status_of_nothing_is_told(undrift: Undrift) -> None:
    assert undrift("status", "--json").json == []
    assert undrift("status").out == "no alias is in use yet: undrift alias list\n"
    unused = undrift("status", "kb", "--json").error
    assert (unused["kind"], unused["hint"]) == ("UnknownAlias", "undrift put kb FILE.jsonl")
    assert undrift("status", "other", "--json").error["hint"] == "undrift alias list"


def test_a_watch_ends_when_the_migration_is_over(ready: Undrift) -> None:
    ready("cancel", "kb", "--yes")

    told, value = ready("status", "kb", "--watch"), ready("status", "--watch", "--json")

    assert told.code == value.code == 0
    assert told.out == "kb: aborted · 300 of 300 (100%) · 1,200 tokens\n"
    assert [json.loads(line)["phase"] for line in value.out.splitlines()] == ["aborted"]


def test_a_watch_tells_every_change(ready: Undrift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pause between two looks, something happens."""
    from undrift.cli import watching

    happenings = iter(
        [
            lambda plane: None,
            lambda plane: plane.pause("kb"),
            lambda plane: plane.resume("kb"),
            lambda plane: plane.cancel("kb"),
        ]
    )

    class Clock:
        def __init__(self, clock: Any) -> None:
            self.monotonic, self.now = clock.monotonic, clock.now

        def sleep(self, _seconds: float) -> None:
            with plane_of(tmp_path) as plane:
                next(happenings)(plane)

    def watched(session: Any, plane: ControlPlane, alias: str) -> None:
        plane.clock = Clock(plane.clock)
        watching.watch(session, plane, alias)

    monkeypatch.setattr("undrift.cli.migrations.watch", watched)

    lines = [json.loads(line) for line in ready("status", "kb", "--watch", "--json").out.splitlines()]

    assert [(line["phase"], line["run_status"]) for line in lines] == [
        ("ready", "running"),
        ("ready", "paused"),
        ("ready", "running"),
        ("aborted", "idle"),
    ]
    assert all(missing_keys("start", line) == [] for line in lines)


def test_a_watch_takes_one_alias(ready: Undrift) -> None:
    ready("alias", "create", "more", "--store", "main", "--model", "old")

    refused = ready("status", "--watch", "--json")

    assert (refused.code, refused.error["detail"]) == (2, "there are: kb, more")


def test_gates_are_looked_at_now_and_then_only(ready: Undrift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from undrift.cli.watching import GATES_EVERY_S, Looks

    with plane_of(tmp_path) as plane:
        looked: list[str] = []
        status = plane.status
        monkeypatch.setattr(plane, "status", lambda name: looked.append(name) or status(name))
        now = [1000.0]
        monkeypatch.setattr(plane.clock, "monotonic", lambda: now[0])
        looks = Looks(plane, "kb")

        first = looks.again()
        assert looks.again() == first
        assert len(looked) == 1
        now[0] += GATES_EVERY_S
        looks.again()
        assert len(looked) == 2
        plane.ledger.save_run_status(
            plane.workshop(AliasName("kb")).migration().id, RunStatus.PAUSED, reason="", who="test"
        )
        assert looks.again()["waiting_for"].startswith("an operator: test paused it: undrift resume")
        assert len(looked) == 3


def test_a_total_that_still_grows_allows_no_forecast(
    ready: Undrift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with plane_of(tmp_path) as plane:
        state = plane.ledger.alias(AliasName("kb"))
        assert state is not None
        assert state.migration is not None

        def rate(*, planned: bool) -> float | None:
            migration = replace(state.migration, phase=Phase.BACKFILL, planned=planned, total=1000)
            monkeypatch.setattr(plane.ledger, "alias", lambda _name: replace(state, migration=migration))
            found: float | None = plane.glance("kb")["progress"]["rate_per_s"]
            return found

        assert rate(planned=True) is not None
        assert rate(planned=False) is None
