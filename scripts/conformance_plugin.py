"""A plugin of pytest that runs the kit for stores, and nothing else, and writes what became of each test.

    python -m pytest -p scripts.conformance_plugin --conformance-report report.json tests/conformance

Only tests of the published kit are run, in every class that has all or a part of it. The report names for each class
the adapter, its capabilities, its engine, and for each test how often it passed, failed, or was skipped, and why.

The kit is imported late, so that pytest can still prepare its assertions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from dataclasses import asdict, dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from undrift.ports.store import StoreCapabilities

if TYPE_CHECKING:
    from undrift.testing.stores import StoreBench

#: What a test may be skipped for besides what `StoreCapabilities` declares: what the bench declares, and methods that a
#: store may have.
DECLARED_ELSEWHERE = frozenset({"exact", "insert_absent"})
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SKIPPED = re.compile(r"capability (?P<name>\w+): (?P<reason>.+)", re.DOTALL)


@dataclass(slots=True, kw_only=True)
class TestTally:
    """What became of one test over all its parameters; skips by the capability that they name."""

    __test__ = False

    passed: int = 0
    failed: int = 0
    skipped: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Run:
    """What became of the kit in one class.

    Attributes:
        label: what the run is called.
        adapter: the name that the store declares; empty where no test got as far as a store.
        module: the file of the class.
        engine: name and version of what is behind the store, as far as the class says.
        live: whether that is the engine itself.
        exact: whether its searches compare with every record.
        capabilities: what the store declares, ready for JSON.
        tests: what became of each test, by the name `Class::test`.
        reasons: the first reason for each capability for which a test was skipped.
        undeclared: reasons of skips that name no capability.
    """

    label: str
    module: str
    live: bool
    exact: bool
    adapter: str = ""
    engine: str = ""
    capabilities: dict[str, Any] = field(default_factory=dict)
    tests: dict[str, TestTally] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    undeclared: list[str] = field(default_factory=list)


def kit_tests() -> list[str]:
    """Return the tests of the kit in order, each as `Class::test`."""
    from undrift.testing.stores import StoreConformance

    return [
        f"{owner.__name__}::{name}"
        for owner in StoreConformance.__bases__
        for name in vars(owner)
        if name.startswith("test_")
    ]


def declared(reason: str) -> tuple[str, str] | None:
    """Return the capability that a skip names, and the reason; None when it names none that there is."""
    found = _SKIPPED.search(reason)
    known = {one.name for one in fields(StoreCapabilities)} | DECLARED_ELSEWHERE
    if found is None or found["name"] not in known:
        return None
    return found["name"], found["reason"].strip()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("undrift").addoption("--conformance-report", metavar="FILE", help="Run the kit for stores only.")


def pytest_configure(config: pytest.Config) -> None:
    """Record, if there is somewhere to write it."""
    if (file := config.getoption("--conformance-report")) is not None:
        config.pluginmanager.register(_Recorder(Path(file)), "undrift-conformance")


class _Recorder:
    """Keeps what becomes of each test."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._runs: dict[type, Run] = {}
        self._left_out: dict[str, str] = {}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Take note of a file whose tests need something that is not installed."""
        if report.skipped:
            self._left_out[report.nodeid] = _reason(report.longrepr)

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out what is not of the kit."""
        wanted = [item for item in items if _owner(item) is not None]
        config.hook.pytest_deselected(items=[item for item in items if _owner(item) is None])
        items[:] = wanted

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None]:
        """Ask the store who it is, once for each class, while it is there."""
        run = self._run(item)
        store = getattr(item, "funcargs", {}).get("store")
        if store is not None and not run.adapter:
            run.adapter = store.capabilities.name
            run.capabilities = _plain(asdict(store.capabilities))
            run.engine = getattr(item, "instance").engine(store)  # noqa: B009 - not every item has one
        yield

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Count how a test ended."""
        report = yield
        run, name = self._run(item), f"{_owner(item)}::{getattr(item, 'originalname', item.name)}"
        tally = run.tests.setdefault(name, TestTally())
        if report.skipped:
            reason = _reason(report.longrepr)
            found = declared(reason)
            if found is None:
                run.undeclared.append(f"{name}: {reason}")
            else:
                tally.skipped[found[0]] = tally.skipped.get(found[0], 0) + 1
                run.reasons.setdefault(*found)
        elif report.failed:
            tally.failed += 1
        elif report.when == "call":
            tally.passed += 1
        return report

    def pytest_sessionfinish(self) -> None:
        """Write the report."""
        value = {"runs": [asdict(run) for run in self._runs.values()], "left_out": self._left_out}
        self._file.write_text(json.dumps(value, indent=1, sort_keys=True), encoding="utf-8")

    def _run(self, item: pytest.Item) -> Run:
        bench = _bench(item)
        if bench not in self._runs:
            label = bench.label or _WORDS.sub(" ", bench.__name__.removeprefix("Test"))
            module = item.nodeid.partition("::")[0]
            self._runs[bench] = Run(label=label, module=module, live=bench.live, exact=bench.exact)
        return self._runs[bench]


def _bench(item: pytest.Item) -> type[StoreBench]:
    from undrift.testing.stores import StoreBench

    bench = getattr(item, "cls", None)
    assert isinstance(bench, type)
    assert issubclass(bench, StoreBench)
    return bench


def _owner(item: pytest.Item) -> str | None:
    """Return the class of the kit that a test is from, or None when it is not from there."""
    from undrift.testing.stores import StoreBench, StoreConformance

    bench = getattr(item, "cls", None)
    if not (isinstance(bench, type) and issubclass(bench, StoreBench)):
        return None
    name = getattr(item, "originalname", item.name)
    return next((owner.__name__ for owner in StoreConformance.__bases__ if name in vars(owner)), None)


def _reason(longrepr: object) -> str:
    """Return why something was skipped."""
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return " ".join(str(text).removeprefix("Skipped: ").split())


def _plain(value: Any) -> Any:
    """Return capabilities ready for JSON."""
    match value:
        case Enum():
            return value.value
        case dict():
            return {key: _plain(one) for key, one in value.items()}
        case frozenset():
            return sorted(_plain(one) for one in value)
        case _:
            return value
