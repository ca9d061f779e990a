"""What Prometheus may read: requests, errors, queues, tokens, times, by model and adapter version. Keeps no texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from conch_ollama.server.answering import Job
    from conch_ollama.server.shim import Shim

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_MODEL = ("model", "version")
_FIRST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_TOTAL = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
_RATE = (1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000)


class Metrics:
    """The counters of one shim, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "conch_requests", "Answers by how they ended.", (*_MODEL, "endpoint", "result"), registry=registry
        )
        self.errors = Counter("conch_errors", "Answers that ended in an error.", (*_MODEL, "code"), registry=registry)
        self.tokens_in = Counter("conch_tokens_in", "Tokens of prompts.", _MODEL, registry=registry)
        self.tokens_out = Counter("conch_tokens_out", "Tokens of answers.", _MODEL, registry=registry)
        self.first = Histogram(
            "conch_first_token_seconds", "To the first token.", _MODEL, registry=registry, buckets=_FIRST
        )
        self.total = Histogram("conch_answer_seconds", "To the last token.", _MODEL, registry=registry, buckets=_TOTAL)
        self.queued = Histogram("conch_queue_seconds", "In the queue.", _MODEL, registry=registry, buckets=_FIRST)
        self.rate = Histogram(
            "conch_tokens_per_second", "Speed after the first token.", _MODEL, registry=registry, buckets=_RATE
        )
        self.responses = Counter("conch_http_responses", "HTTP responses by status.", ("status",), registry=registry)
        self.feedback = Counter("conch_feedback", "Ratings of answers.", (*_MODEL, "rating"), registry=registry)

    def count(self, job: Job) -> None:
        """Take in one ended answer."""
        tally = job.tally
        labels = (job.served.target, job.served.card.version)
        self.requests.labels(*labels, job.endpoint, tally.result).inc()
        if tally.result not in {"ok", "cancelled"}:
            self.errors.labels(*labels, tally.result).inc()
        self.queued.labels(*labels).observe(tally.queued_s)
        self.tokens_in.labels(*labels).inc(tally.prompt_tokens)
        self.tokens_out.labels(*labels).inc(tally.completion_tokens)
        if tally.first_s is None:
            return
        self.first.labels(*labels).observe(tally.first_s)
        self.total.labels(*labels).observe(tally.total_s)
        if tally.completion_tokens > 1 and tally.total_s > tally.first_s:
            self.rate.labels(*labels).observe((tally.completion_tokens - 1) / (tally.total_s - tally.first_s))

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)


class LoadCollector(Collector):
    """Queues and workers as they are when asked: nothing is counted twice."""

    def __init__(self, shim: Shim) -> None:
        self._shim = shim

    def collect(self) -> Iterable[Metric]:
        """Gauges of the queues, restarts of the workers."""
        running = GaugeMetricFamily("conch_queue_running", "Answers in the making.", labels=["model"])
        waiting = GaugeMetricFamily("conch_queue_waiting", "Requests that wait for a place.", labels=["model"])
        for model, queue in self._shim.queues.items():
            running.add_metric([model], queue.running)
            waiting.add_metric([model], queue.waiting)
        restarts = CounterMetricFamily("conch_worker_restarts", "Workers started again.", labels=["runtime"])
        up = GaugeMetricFamily("conch_runtime_up", "Whether the runtime is well.", labels=["runtime"])
        for name, health in self._shim.healths.items():
            restarts.add_metric([name], health.restarts)
            up.add_metric([name], int(health.ok))
        return [running, waiting, restarts, up]
