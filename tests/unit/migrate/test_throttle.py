"""What makes the work wait: the decision by itself, and a worker that sees it coming and going."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import time
from pathlib import Path
from typing import Any

import pytest

from tests.unit.migrate.scene import Scene
from undrift import Document
from undrift.config import parse
from undrift.domain.migration import Phase
from undrift.domain.tuning import Limits, read_hours
from undrift.errors import BadConfig, StoreUnavailable
from undrift.flow.traffic import Window, p95
from undrift.migrate.engine import Worker
from undrift.migrate.lookout import Lookout
from undrift.migrate.throttle import Go, Observed, Wait, decide
from undrift.testing.rig import ALIAS

STRICT = Limits(
    max_search_ms=20.0, max_error_rate=0.1, max_lag_s=5.0, hours=read_hours("22:00-06:00"), time_zone="Europe/Berlin"
)
FINE = Observed(search_p95_ms=20.0, error_rate=0.1, oldest_dirty_s=5.0, local=time(23), objection="")


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path).begin(Phase.BACKFILL)


# The decision


def test_what_is_at_its_limit_goes_on() -> None:
    assert decide(FINE, STRICT, ALIAS) == Go()


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        ({"search_p95_ms": 20.6}, "searches that take 21 ms (p95, at most 20): undrift tune kb max_search_ms=none"),
        (
            {"error_rate": 0.25},
            "a store that fails 25% of the calls (at most 10%): undrift tune kb max_error_rate=none",
        ),
        ({"oldest_dirty_s": 7.2}, "documents dirty for 7 s (at most 5): undrift worker kb helps"),
        (
            {"local": time(12, 5)},
            "the hours 22:00-06:00 of Europe/Berlin, where it is 12:05: undrift tune kb hours=none",
        ),
        ({"objection": "load.py, which says no"}, "load.py, which says no: it has to agree, or go from [aliases.kb."),
    ],
    ids=["searches", "errors", "lag", "hours", "objection"],
)
def test_any_one_limit_keeps_it_waiting_and_names_what_ends_that(seen: dict[str, Any], told: str) -> None:
    found = decide(replace(FINE, **seen), STRICT, ALIAS)

    assert isinstance(found, Wait)
    assert str(found).startswith(told)


def test_all_limits_that_are_passed_are_named() -> None:
    seen = Observed(search_p95_ms=99, error_rate=0.9, oldest_dirty_s=60, local=time(7), objection="the boss")

    found = decide(seen, STRICT, ALIAS)

    assert isinstance(found, Wait)
    assert len(found.reason.split("; ")) == 5


def test_nothing_is_in_the_way_where_nothing_is_limited_or_known() -> None:
    assert decide(replace(FINE, search_p95_ms=1e9, error_rate=1.0, oldest_dirty_s=1e9), Limits(), ALIAS) == Go()
    assert decide(Observed(), STRICT, ALIAS) == Go()


def test_the_95th_percentile_is_one_of_the_numbers_and_needs_some() -> None:
    assert p95([1.0] * 4) is None
    assert p95([float(number) for number in range(1, 101)]) == 95.0
    assert p95([1.0, 2.0, 3.0, 4.0, 50.0]) == 50.0


# The worker


def tune(scene: Scene, **values: str) -> None:
    scene.operator.plane.tune(ALIAS, values)


def watched(scene: Scene) -> tuple[Worker, list[str]]:
    worker, heard = scene.worker.worker(), []
    worker.on_wait = heard.append
    return worker, heard


def tick(worker: Worker, scene: Scene, times: int, between_s: float = 1.0) -> None:
    for _ in range(times):
        worker.tick()
        scene.rig.clock.sleep(between_s)


def pieces(scene: Scene) -> int:
    return scene.ledger.chunk_progress(scene.migration.id)[1]


def test_a_worker_waits_for_the_hours_and_the_status_says_so(scene: Scene) -> None:
    now = scene.rig.clock.now()
    closed = f"{(now.hour + 2) % 24:02}:00-{(now.hour + 3) % 24:02}:00"
    tune(scene, hours=closed)
    worker, heard = watched(scene)

    tick(worker, scene, 5)

    assert pieces(scene) == 0
    assert re.fullmatch(rf"the hours {closed} of UTC, where it is ..:..: undrift tune kb hours=none", heard[0])
    assert scene.operator.plane.status(ALIAS)["waiting_for"] == heard[-1]

    scene.rig.clock.sleep(2 * 3600)
    tick(worker, scene, 8)
    assert pieces(scene) == 3
    assert not (scene.operator.plane.status(ALIAS)["waiting_for"] or "").startswith("the hours")


def test_what_writers_touch_is_carried_over_all_the_same(scene: Scene) -> None:
    tune(scene, hours="00:00-00:01")
    scene.rig.clock.sleep(60)
    scene.write(Document(id="d01", text="newer"))
    worker, _ = watched(scene)

    tick(worker, scene, 3)

    assert (scene.lag().dirty, pieces(scene)) == (0, 0)
    assert scene.target() == {"d01": "newer"}


def test_slow_searches_keep_the_back_fill_waiting_until_they_are_fast_again(scene: Scene) -> None:
    """The worker measures with searches of its own, one a second, also while it waits."""
    tune(scene, max_search_ms="50")
    slow = [True]

    def on_call(name: str) -> None:
        if name == "store.search" and slow[0]:
            scene.rig.clock.advance(0.2)

    scene.worker.faults.on_call = on_call
    worker, heard = watched(scene)
    lookout = worker._lookout
    for _ in range(6):
        lookout.look()
        scene.rig.clock.sleep(1)

    tick(worker, scene, 3)
    assert pieces(scene) == 0
    assert heard[-1] == "searches that take 200 ms (p95, at most 50): undrift tune kb max_search_ms=none"
    slow[0] = False
    tick(worker, scene, 66)
    assert pieces(scene) == 3


def search_slowly(scene: Scene, took_s: float, times: int = 8) -> None:
    """Let the application search, and its heart beat as long as it takes to be heard."""
    scene.app.faults.on_call = lambda name: scene.rig.clock.advance(took_s) if name == "store.search" else None
    for _ in range(times):
        scene.app.alias.search("text")
        scene.rig.clock.sleep(1)


def test_what_applications_measure_counts_and_the_worker_searches_only_where_none_tells(scene: Scene) -> None:
    tune(scene, max_search_ms="50")
    search_slowly(scene, 0.2)
    worker, heard = watched(scene)

    tick(worker, scene, 3)

    assert pieces(scene) == 0
    assert heard[-1] == "searches that take 200 ms (p95, at most 50): undrift tune kb max_search_ms=none"
    assert "store.search" not in scene.calls()
    search_slowly(scene, 0.01, times=66)
    tick(worker, scene, 4)
    assert pieces(scene) == 3


def test_an_application_that_tells_nothing_any_more_is_not_listened_to(scene: Scene) -> None:
    tune(scene, max_search_ms="50")
    search_slowly(scene, 0.2)
    scene.rig.kill(scene.app)
    scene.rig.clock.sleep(61)
    worker, _ = watched(scene)

    tick(worker, scene, 4)

    assert "store.search" in scene.calls()
    assert pieces(scene) == 3


def test_applications_tell_of_their_searches_only_where_these_are_limited(scene: Scene) -> None:
    search_slowly(scene, 0.2)

    assert not [key for key in scene.ledger.tuning(ALIAS) if key.startswith("@searches")]


def test_a_comparison_of_a_worker_waits_between_two_pages(scene: Scene) -> None:
    """And carries over what is dirty meanwhile; it goes on from where it was."""
    scene.worker.work_to(Phase.VERIFY)
    worker, heard = watched(scene)
    shut = [0]

    def on_call(name: str) -> None:
        if name == "ledger.save_bookmark" and not shut[0]:
            shut[0] = 1
            tune(scene, max_search_ms="50")
            search_slowly(scene, 0.2)
        if name == "ledger.coordinate" and shut[0]:
            shut[0] += 1
            if shut[0] == 30:
                tune(scene, max_search_ms="none")

    scene.worker.faults.on_call = on_call
    worker.run(lambda migration: migration is not None and migration.phase is Phase.READY)

    assert shut[0] >= 30
    assert any(reason.startswith("searches that take 200 ms") for reason in heard)


@pytest.mark.parametrize("verb", ["verify", "reconcile"])
def test_a_comparison_of_an_operator_waits_as_the_back_fill_does(scene: Scene, verb: str) -> None:
    scene.worker.work_to(Phase.READY)
    tune(scene, max_search_ms="50")
    search_slowly(scene, 0.2)
    told: list[str] = []

    def waits(reason: str) -> None:
        told.append(reason)
        if len(told) == 5:
            tune(scene, max_search_ms="none")

    report = getattr(scene.operator.plane, verb)(ALIAS, on_wait=waits)

    assert report["verdict"] == "pass"
    assert len(told) >= 5
    assert set(told) == {"searches that take 200 ms (p95, at most 50): undrift tune kb max_search_ms=none"}


def test_no_search_is_made_that_nobody_asked_for(scene: Scene) -> None:
    worker, _ = watched(scene)

    tick(worker, scene, 5)

    assert "store.search" not in scene.calls()


def test_a_store_that_fails_often_is_left_alone_for_a_while(scene: Scene) -> None:
    tune(scene, max_error_rate="0.2")
    worker, heard = watched(scene)
    worker.tick()
    scene.worker.faults.fail("store.scan", lambda: StoreUnavailable("busy"), times=1000)
    for _ in range(12):
        with pytest.raises(StoreUnavailable):
            worker.tick()
    scene.worker.faults.heal()
    scene.rig.clock.sleep(1)

    tick(worker, scene, 3)
    assert pieces(scene) == 0
    assert heard[-1].startswith("a store that fails 92% of the calls (at most 20%)")
    scene.rig.clock.sleep(60)
    tick(worker, scene, 5)
    assert pieces(scene) == 3


def test_the_back_fill_waits_for_documents_that_are_dirty_for_long(scene: Scene) -> None:
    tune(scene, max_lag_s="3")
    scene.write(Document(id="d01", text="newer"))
    # Another worker has it in hand, and does not get on with it.
    scene.ledger.claim(ALIAS, owner=scene.operator.plane.router.client, limit=1, lease_s=10.0, settle_s=5.0)
    scene.rig.clock.sleep(4)
    worker, heard = watched(scene)

    tick(worker, scene, 2)
    assert pieces(scene) == 0
    assert heard[-1].startswith("documents dirty for ")
    tick(worker, scene, 20)
    assert (scene.lag().dirty, pieces(scene)) == (0, 3)


def test_a_worker_rests_after_a_piece_as_long_as_it_is_told_to(scene: Scene) -> None:
    tune(scene, nice_ratio="4")
    scene.when("model.embed_documents", lambda: scene.rig.clock.advance(2.0))
    worker, heard = watched(scene)
    # The model is proved at the first look; only then is a piece begun.
    while not pieces(scene):
        worker.tick()
    began = scene.rig.clock.monotonic()

    while pieces(scene) == 1:
        worker.tick()
        scene.rig.clock.sleep(0.1)

    assert 7.5 < scene.rig.clock.monotonic() - began < 9.0
    assert heard[0].startswith("the pace that was set (nice_ratio=4): it goes on by itself in ")


@pytest.mark.parametrize("workers", [1, 2])
def test_all_workers_together_keep_to_the_pace(scene: Scene, workers: int) -> None:
    tune(scene, max_rows_per_s="2")
    others = [scene.rig.process("worker") for _ in range(workers - 1)]
    crew = [scene.worker.worker(), *(one.worker() for one in others)]
    began = scene.rig.clock.monotonic()

    while scene.migration.phase is Phase.BACKFILL:
        for worker in crew:
            worker.tick()
        scene.rig.clock.sleep(0.1)

    # Twelve documents at two a second; what is left is how early the first and how late the last piece may be.
    assert 3.0 <= scene.rig.clock.monotonic() - began <= 9.0


def test_a_worker_reads_and_embeds_no_more_at_once_than_it_is_told_to(scene: Scene) -> None:
    tune(scene, chunk_size="1")
    worker, _ = watched(scene)

    tick(worker, scene, 8)

    made = [call for call in scene.calls() if call in ("store.scan", "model.embed_documents", "store.insert_absent")]
    assert made.count("store.scan") >= 12
    assert made.count("store.insert_absent") == pieces(scene) == 3
    assert scene.target() == scene.source()


def test_a_setting_reaches_a_worker_that_is_at_work(scene: Scene) -> None:
    worker, _ = watched(scene)
    tick(worker, scene, 1)
    began = pieces(scene)
    tune(scene, hours="00:00-00:01")
    scene.rig.clock.sleep(60)

    tick(worker, scene, 5)

    assert pieces(scene) == began


def test_a_wait_of_a_worker_that_is_gone_is_not_shown(scene: Scene) -> None:
    tune(scene, hours="00:00-00:01")
    scene.rig.clock.sleep(60)
    worker, heard = watched(scene)
    tick(worker, scene, 5)
    assert scene.operator.plane.status(ALIAS)["waiting_for"] == heard[-1]

    scene.rig.kill(scene.worker)
    scene.rig.clock.sleep(60)

    assert scene.operator.plane.status(ALIAS)["waiting_for"].startswith("a worker: undrift worker")


@pytest.mark.parametrize(
    ("say", "told"),
    [
        (lambda: "the cluster is busy", "load:ask, which says the cluster is busy: it has to agree"),
        (lambda: False, "load:ask, which says False: it has to agree"),
        (lambda: 1 / 0, "load:ask, which raised ZeroDivisionError: division by zero: it has to agree"),
    ],
    ids=["text", "false", "raises"],
)
def test_a_function_of_the_user_keeps_the_work_waiting(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, say: Callable[[], object], told: str
) -> None:
    plane = scene.worker.plane
    values = {**plane.config.settings.model_dump()}
    values["aliases"][ALIAS]["throttle"] = {"function": "load:ask"}
    plane.config = parse(values, plane.config.path)
    answers: list[Callable[[], object]] = [say]
    monkeypatch.setattr(plane.plugins, "_user_function", lambda _: answers[0])
    worker, heard = watched(scene)

    tick(worker, scene, 3)
    assert pieces(scene) == 0
    assert heard[-1].startswith(told)
    answers[0] = lambda: None
    tick(worker, scene, 8)
    assert pieces(scene) == 3


@pytest.mark.parametrize(
    "throttle",
    [
        {"hours": "late"},
        {"time_zone": "Europe/Atlantis"},
        {"max_error_rate": 2},
        {"chunk_size": 1000},
        {"http": "ftp://load"},
        {"function": "load"},
        {"speed": 3},
    ],
    ids=lambda value: next(iter(value)),
)
def test_a_throttle_that_cannot_be_is_named_when_the_configuration_is_read(
    scene: Scene, throttle: dict[str, object]
) -> None:
    values = scene.worker.plane.config.settings.model_dump()
    values["aliases"][ALIAS]["throttle"] = throttle

    with pytest.raises(BadConfig) as refused:
        parse(values, scene.worker.plane.config.path)

    assert f"aliases.kb.throttle.{next(iter(throttle))}" in refused.value.detail


def test_a_window_forgets_what_is_older_than_a_minute(scene: Scene) -> None:
    window = Window(scene.rig.clock)
    window.add(1.0)
    scene.rig.clock.sleep(59)
    window.add(2.0)
    assert window.values() == [1.0, 2.0]
    scene.rig.clock.sleep(2)
    assert window.values() == [2.0]


def test_the_hour_is_that_of_the_time_zone(scene: Scene) -> None:
    tune(scene, hours="00:00-12:00", time_zone="Asia/Kolkata")
    now = scene.rig.clock.now()
    local_minutes = (now.hour * 60 + now.minute + 330) % 1440

    found = Lookout(scene.workshop).look()

    assert isinstance(found, Go) == (local_minutes < 720)
