"""Writes grafana/dashboard.json: run it after changing a panel here. The metrics are those of /metrics."""

from __future__ import annotations

import json
from pathlib import Path

PANELS = (
    ("Requests a second, by result", "sum by (model, result) (rate(conch_requests_total[$__rate_interval]))", "reqps"),
    ("Errors a second, by code", "sum by (model, code) (rate(conch_errors_total[$__rate_interval]))", "reqps"),
    ("In the making", "conch_queue_running", "short"),
    ("Waiting", "conch_queue_waiting", "short"),
    (
        "First token, median",
        "histogram_quantile(0.5, sum by (model, le) (rate(conch_first_token_seconds_bucket[5m])))",
        "s",
    ),
    (
        "First token, 95%",
        "histogram_quantile(0.95, sum by (model, le) (rate(conch_first_token_seconds_bucket[5m])))",
        "s",
    ),
    ("Tokens out a second", "sum by (model, version) (rate(conch_tokens_out_total[$__rate_interval]))", "short"),
    ("Tokens in a second", "sum by (model, version) (rate(conch_tokens_in_total[$__rate_interval]))", "short"),
    (
        "Speed of one answer, median",
        "histogram_quantile(0.5, sum by (model, le) (rate(conch_tokens_per_second_bucket[5m])))",
        "short",
    ),
    ("Workers started again", "increase(conch_worker_restarts_total[1h])", "short"),
    ("HTTP responses a second", "sum by (status) (rate(conch_http_responses_total[$__rate_interval]))", "reqps"),
    ("Ratings an hour", "sum by (model, version, rating) (increase(conch_feedback_total[1h]))", "short"),
)
SOURCE = {"type": "prometheus", "uid": "${source}"}


def dashboard() -> dict[str, object]:
    """The dashboard's model, two panels a row."""
    panels = [
        {
            "id": number + 1,
            "type": "timeseries",
            "title": title,
            "datasource": SOURCE,
            "gridPos": {"h": 8, "w": 12, "x": 12 * (number % 2), "y": 8 * (number // 2)},
            "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
            "targets": [{"refId": "A", "datasource": SOURCE, "expr": query}],
        }
        for number, (title, query, unit) in enumerate(PANELS)
    ]
    variable = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return {
        "title": "conch serve",
        "uid": "conch-serve",
        "schemaVersion": 39,
        "refresh": "15s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [variable]},
        "panels": panels,
    }


if __name__ == "__main__":
    text = json.dumps(dashboard(), indent=2) + "\n"
    Path(__file__).with_name("grafana").joinpath("dashboard.json").write_text(text, encoding="utf-8")
