"""Files for other tools that come with undrift."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "data"
#: Alerting rules for Prometheus.
RULES = _FOLDER / "undrift-rules.yml"
#: A dashboard for Grafana.
DASHBOARD = _FOLDER / "undrift-dashboard.json"
