"""Writes docs/reference/metrics.md from the metrics that `undrift watch --health` answers.

Run `python -m scripts.metrics_reference`; a test keeps the page equal to what it writes.
"""

from __future__ import annotations

from pathlib import Path

from undrift.control.metrics import documented

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "metrics.md"

HEAD = """# Metrics

<!-- Written by `python -m scripts.metrics_reference`; a test keeps it so. Change the descriptions instead. -->

What `undrift watch --health HOST:PORT` answers under `/metrics`, in the text format of Prometheus. There are few
series: labels are names of checks, aliases, models and receivers, never of documents or texts. `subject` is what a
check looked at: an alias, a model, or both. Shares are from 0 to 1, times in seconds since 1970.
[Rules and a dashboard](../how-to/watch.md#prometheus-and-grafana) come with undrift.

| metric | kind | labels | what it is |
| --- | --- | --- | --- |
"""


def reference() -> str:
    """Return the page."""
    rows = [
        f"| `{metric.name}` | {'counter' if metric.is_counter else 'gauge'} | "
        f"{', '.join(f'`{label}`' for label in metric.labels)} | {metric.about} |"
        for metric in documented()
    ]
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
