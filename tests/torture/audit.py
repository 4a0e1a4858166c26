"""What is in both fields against what the histories allow; every tag and every vector is looked at on the way."""

from __future__ import annotations

import json
import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.torture.histories import FAIL, OK, Call, read
from tests.torture.linearizability import Kind, Op, State, Verdict, canonical, judge, state
from undrift.control import ControlPlane
from undrift.domain.migration import Phase
from undrift.domain.record import content_hash
from undrift.domain.route import AliasName, VectorField
from undrift.errors import UndriftError

#: How long the last documents may take to be carried over when nothing disturbs any more, in seconds.
PATIENCE_S = 300.0
#: Least cosine between a stored vector and the one that its model gives; only rounding lies between them.
_SAME = 0.9999
_WRITES = frozenset({"put", "delete", "merge"})
_MOVES = ("cutover", "rollback")
#: In these phases the other field has every document.
_FILLED = (Phase.READY, Phase.REVERSING, Phase.ROLLED_BACK)


@dataclass(kw_only=True)
class Report:
    """What an audit found.

    Attributes:
        figures: how many of what there were.
        violations: a sentence for each broken promise.
        state: text and metadata of every document in the serving field.
        epoch: the route's number.
        space: the space that serves.
        model: the name of its model.
    """

    figures: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    state: dict[str, list[Any]] = field(default_factory=dict)
    epoch: int = 0
    space: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A time in which the route moves: from before the verb until every client follows and no truth is elsewhere."""

    began: float
    ended: float
    epoch: int


def audit(plane: ControlPlane, script: Mapping[str, Any]) -> None:
    """Wait until everything is carried over, compare, and write the report down."""
    report = Report()
    alias = AliasName("kb")
    _await_rest(plane, alias, report)
    found = plane.ledger.alias(alias)
    assert found is not None
    route = found.route
    report.epoch, report.space = route.epoch, route.serving.space
    serving = _contents(plane, route.serving, report)
    report.state = {id: [text, metadata] for id, (text, metadata) in serving.items()}
    report.model = next(
        name for name in plane.config.settings.models if plane.model_door(name).space.id == report.space
    )
    # Before it is filled, what is not dirty may be missing in the other field.
    if route.follower is not None and found.migration is not None and found.migration.phase in _FILLED:
        report.figures["comparisons of both fields"] += 1
        _compare(serving, _contents(plane, route.follower, report), report)
    before = json.loads(Path(script["before"]).read_text(encoding="utf-8"))
    calls = read(Path(script["histories"]))
    if script["examined"]:
        examine(calls, before=before, after=report.state, report=report)
    report.figures["open writes at the end"] += plane.ledger.lag(alias).open
    temporary = Path(script["report"]).with_suffix(".new")
    temporary.write_text(json.dumps(vars(report)), encoding="utf-8")
    temporary.replace(script["report"])


def examine(calls: Sequence[Call], *, before: Mapping[str, Any], after: Mapping[str, Any], report: Report) -> None:
    """Judge a history, given what there was before it and what there is in the end."""
    # Two operators at once may move the route at any time.
    operators = {call.actor.partition(".")[0] for call in calls if call.kind == "verb"}
    windows = _windows(calls) if len(operators) < 2 else [Window(began=-math.inf, ended=math.inf, epoch=0)]
    _count(calls, report)
    _judge_searches(calls, report)
    histories = _by_document(calls, windows, before, report)
    end = max((call.ended for call in calls if math.isfinite(call.ended)), default=0.0) + 1.0
    for key in sorted({*histories, *before["state"], *after}):
        initial = _state(before["state"].get(key))
        last = Op(kind=Kind.READ, value=_state(after.get(key)), began=end, ended=end)
        verdict = judge(initial, [*histories.get(key, []), last])
        report.figures["documents judged"] += 1
        if verdict is Verdict.UNDECIDED:
            report.figures["documents undecided"] += 1
        elif verdict is Verdict.IMPOSSIBLE:
            # Which promise it is shows without the reads: they can be impossible too.
            writes = [op for op in histories.get(key, []) if op.kind is not Kind.READ]
            lost = judge(initial, [*writes, last]) is Verdict.IMPOSSIBLE
            what = "ends in a state that no order of its writes leads to" if lost else "was read as it cannot have been"
            report.violations.append(f"document {key} {what}; in the end it is {after.get(key)}")


def _await_rest(plane: ControlPlane, alias: AliasName, report: Report) -> None:
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            lag = plane.ledger.lag(alias)
            found = plane.ledger.alias(alias)
            if found is not None and (found.route.follower is None or not (lag.dirty or lag.open)):
                return
            left = f"{lag.dirty} documents are dirty and {lag.open} writes are open"
        except UndriftError as error:
            left = str(error)
        if time.monotonic() > end:
            report.violations.append(f"nothing disturbs any more, and after {PATIENCE_S:.0f} s {left}")
            return
        time.sleep(0.05)


def _contents(plane: ControlPlane, place: VectorField, report: Report) -> dict[str, tuple[str, dict[str, Any]]]:
    """Read a whole field, and look at every tag and vector."""
    store, embed = plane.store_of(place), plane.door_of(place.space).fresh
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    after = ""
    while page := store.ids(place, after=after, limit=500):
        after = page[-1]
        records = list(store.fetch(place, page).values())
        vectors = embed([record.text for record in records])
        for record, vector in zip(records, vectors, strict=True):
            found[record.id] = (record.text, dict(record.metadata))
            if record.tag.space != place.space or record.tag.content != content_hash(record.text):
                report.violations.append(f"document {record.id} of {place.key} has the tag {record.tag}")
            if not float(np.dot(record.vector, vector)) > _SAME:
                report.violations.append(f"document {record.id} of {place.key} has a vector of another text or model")
    report.figures["documents compared"] += len(found)
    return found


def _compare(serving: Mapping[str, Any], follower: Mapping[str, Any], report: Report) -> None:
    for key in sorted({*serving, *follower}):
        here, there = serving.get(key), follower.get(key)
        if here != there:
            report.violations.append(f"document {key} is {here} in the serving field and {there} in the other")


def _windows(calls: Iterable[Call]) -> list[Window]:
    """Return when the route moved."""
    windows: list[Window] = []
    began: float | None = None
    for call in calls:
        if call.kind == "verb" and str(call.asked["verb"]).startswith(_MOVES):
            began = call.began if began is None else began
        elif call.kind == "settled" and began is not None:
            windows.append(Window(began=began, ended=call.began, epoch=call.told["settled"]))
            began = None
    if began is not None:
        windows.append(Window(began=began, ended=math.inf, epoch=0))
    return windows


def _is_strict(call: Call, windows: Iterable[Window], epoch: int) -> bool:
    """Whether a read must see the last acknowledged write: not while the route moves, nor on a route of before."""
    for window in windows:
        if window.ended < call.began:
            epoch = window.epoch
        elif window.began <= call.ended:
            return False
    return min(int(call.asked["epoch"]), int(call.told["epoch"])) >= epoch


def _by_document(
    calls: Iterable[Call], windows: Sequence[Window], before: Mapping[str, Any], report: Report
) -> dict[str, list[Op]]:
    """Sort what happened by document, and look at the reads that may be late."""
    histories: defaultdict[str, list[Op]] = defaultdict(list)
    late: list[Call] = []
    for call in calls:
        certain = call.outcome == OK
        if call.outcome == FAIL:
            continue
        if call.kind in ("get", "search"):
            if not certain:
                continue
            if _is_strict(call, windows, before["epoch"]):
                report.figures["reads that had to be fresh"] += 1
                for key, value in _seen(call):
                    histories[key].append(Op(kind=Kind.READ, value=value, began=call.began, ended=call.ended))
            else:
                late.append(call)
            continue
        for key, kind, value in _effects(call):
            histories[key].append(Op(kind=kind, value=value, began=call.began, ended=call.ended, certain=certain))
    for call in late:
        report.figures["reads while the route moved"] += 1
        for key, value in _seen(call):
            if value is not None and not _was_put(value[0], key, call, histories, before):
                report.violations.append(f"{call.actor} read {value} of document {key}, which nobody had put")
    return dict(histories)


def _effects(call: Call) -> list[tuple[str, Kind, State]]:
    match call.kind:
        case "put":
            metadata = call.asked["metadata"]
            return [(key, Kind.PUT, state(text, metadata)) for key, text in call.asked["puts"].items()]
        case "delete":
            return [(key, Kind.DELETE, None) for key in call.asked["keys"]]
        case "merge":
            changes = canonical(call.asked["changes"])
            return [(key, Kind.MERGE, ("", changes)) for key in call.asked["keys"]]
        case _:
            return []


def _seen(call: Call) -> list[tuple[str, State]]:
    """Return what a read saw of each document; a search says nothing about those that it did not find."""
    found = call.told["found"]
    keys = call.asked["keys"] if call.kind == "get" else found
    return [(key, _state(found.get(key))) for key in keys]


def _was_put(text: str, key: str, call: Call, histories: Mapping[str, Sequence[Op]], before: Mapping[str, Any]) -> bool:
    initial = before["state"].get(key)
    if initial is not None and initial[0] == text:
        return True
    return any(
        op.kind is Kind.PUT and op.value is not None and op.value[0] == text and op.began <= call.ended
        for op in histories.get(key, [])
    )


def _judge_searches(calls: Iterable[Call], report: Report) -> None:
    """No answer has a vector of another space than its question's, and an epoch means one space."""
    space_at: dict[int, str] = {}
    for call in calls:
        if call.outcome != OK or call.kind not in ("search", *_WRITES, "settled"):
            continue
        epoch, space = int(call.told.get("settled", call.told.get("epoch", 0))), call.told["space"]
        if space_at.setdefault(epoch, space) != space:
            report.violations.append(f"{call.actor} was told {space} at epoch {epoch}, another one {space_at[epoch]}")
        if call.kind == "search":
            foreign = [tag for tag in call.told["spaces"] if tag != space]
            if foreign or call.told["dropped"]:
                report.violations.append(f"a search of {call.actor} in {space} met vectors of {foreign or 'another'}")


def _count(calls: Iterable[Call], report: Report) -> None:
    figures = report.figures
    for call in calls:
        if call.kind in _WRITES:
            figures["writes"] += 1
            figures[{OK: "writes acknowledged", FAIL: "writes refused"}.get(call.outcome, "writes unknown")] += 1
        elif call.kind in ("get", "search"):
            figures["searches" if call.kind == "search" else "gets"] += 1
        if call.outcome != OK and "error" in call.told:
            figures[f"error {call.told['error']} in {call.kind}"] += 1


def _state(found: Sequence[Any] | None) -> State:
    return None if found is None else state(found[0], found[1])
