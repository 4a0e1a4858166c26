"""A migration is traced where somebody wants it, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.running import Undrift, write_lines
from undrift import telemetry
from undrift.adapters.tracing import open_telemetry


@pytest.fixture
def spans() -> Iterator[Any]:
    """What was traced."""
    pytest.importorskip("opentelemetry.sdk.trace")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    telemetry.trace_with(open_telemetry(provider))
    yield exporter.get_finished_spans
    telemetry.trace_with(None)
    provider.shutdown()


def migrate(undrift: Undrift, folder: Path) -> None:
    write_lines(folder / "some.jsonl", [{"id": f"d{number}", "text": f"text number {number}"} for number in range(5)])
    assert undrift("put", "kb", "some.jsonl").code == 0
    assert undrift("start", "kb", "--to", "new").code == 0


def test_a_migration_is_traced_by_steps_pieces_and_requests(undrift: Undrift, tmp_path: Path, spans: Any) -> None:
    migrate(undrift, tmp_path)

    by_id = {span.context.span_id: span for span in spans()}
    named: dict[str, list[Any]] = {}
    for span in by_id.values():
        named.setdefault(span.name, []).append(span)
    (piece,) = named["undrift.piece"]
    inside = [span for span in named["embeddings"] if span.parent and by_id[span.parent.span_id] is piece]
    assert len(named["undrift.step"]) >= 2
    assert len(named["undrift.verify"]) == 1
    assert piece.attributes["undrift.alias"] == "kb"
    assert piece.attributes["undrift.documents"] == 5
    assert sum(span.attributes["undrift.texts"] for span in inside) == 5
    assert all("." in name for span in by_id.values() for name in span.attributes)


def test_without_a_tracer_nothing_is_traced(undrift: Undrift, tmp_path: Path, spans: Any) -> None:
    telemetry.trace_with(None)

    migrate(undrift, tmp_path)
    assert spans() == ()


def test_traces_without_open_telemetry_name_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from undrift.errors import MissingExtra

    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(MissingExtra, match="OpenTelemetry is not installed"):
        open_telemetry()
