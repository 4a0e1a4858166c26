"""Spans for OpenTelemetry, through whatever provider and exporter the process was started with."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from undrift.errors import MissingExtra
from undrift.release import VERSION
from undrift.telemetry import Tracer


def open_telemetry(provider: Any = None) -> Tracer:
    """Return what makes spans.

    Args:
        provider: an OpenTelemetry `TracerProvider`; the process's own by default.

    Raises:
        MissingExtra: OpenTelemetry is not installed.
    """
    try:
        from opentelemetry import trace
    except ImportError as error:
        raise MissingExtra(
            "OpenTelemetry is not installed", f"{error.name} is missing", "pip install 'undrift[otel]'"
        ) from error
    tracer = trace.get_tracer("undrift", VERSION, tracer_provider=provider)

    def span(name: str, known: dict[str, str | int]) -> AbstractContextManager[object]:
        return tracer.start_as_current_span(name, attributes=known)

    return span
