"""What a running shim does, from its /metrics: totals, and what has changed since the last look."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from conch_ollama.errors import RuntimeUnreachableError, UsageError

_Samples = dict[str, dict[tuple[str, ...], float]]


@dataclass(frozen=True)
class ModelRow:
    """One model and version. Rates by the second, times in seconds; `first_s` is the mean since the last look."""

    model: str
    version: str
    running: int
    waiting: int
    requests: int
    errors: int
    tokens_in: int
    tokens_out: int
    tokens_per_s: float
    first_s: float | None


@dataclass(frozen=True)
class Look:
    """One look. `restarts`: runtime -> workers started again; `down`: runtimes that are not well."""

    rows: tuple[ModelRow, ...]
    restarts: dict[str, int]
    down: tuple[str, ...]


class Top:
    """Looks at one shim again and again."""

    def __init__(self, url: str, key: str | None = None) -> None:
        import httpx

        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._url = url.rstrip("/")
        self._client = httpx.Client(timeout=10, headers=headers)
        self._before: _Samples = {}
        self._at = 0.0

    def look(self) -> Look:
        """Ask once. Raises UsageError where the shim refuses, RuntimeUnreachableError where nothing answers."""
        import httpx

        try:
            answer = self._client.get(f"{self._url}/metrics")
        except httpx.HTTPError as err:
            raise RuntimeUnreachableError(
                f"no shim answers at {self._url}: {err}",
                hint="conch serve; or give --url. A certificate of your own: SSL_CERT_FILE=FILE in the environment",
            ) from err
        if answer.status_code != 200:
            raise UsageError(
                f"{self._url}/metrics refuses (HTTP {answer.status_code})",
                hint="give --key-env VAR with a key that may use all models",
            )
        now, samples = time.monotonic(), _parsed(answer.text)
        look = _look(samples, self._before, now - self._at)
        self._before, self._at = samples, now
        return look


def _parsed(text: str) -> _Samples:
    from prometheus_client.parser import text_string_to_metric_families

    found: _Samples = defaultdict(dict)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            key = (labels.get("model", labels.get("runtime", "")), labels.get("version", ""))
            # Other labels (endpoint, result) are added up.
            found[sample.name][key] = found[sample.name].get(key, 0.0) + sample.value
    return found


def _look(now: _Samples, before: _Samples, seconds: float) -> Look:
    def value(name: str, key: tuple[str, str]) -> float:
        return now.get(name, {}).get(key, 0.0)

    def change(name: str, key: tuple[str, str]) -> float:
        return value(name, key) - before.get(name, {}).get(key, 0.0)

    known: Iterable[tuple[str, ...]] = {
        *now.get("conch_requests_total", {}),
        *((model, "") for model, *_ in now.get("conch_queue_running", {}) if not _has_version(now, model)),
    }
    rows = []
    for model, version in sorted((key[0], key[1]) for key in known):
        key, queue = (model, version), (model, "")
        firsts = change("conch_first_token_seconds_count", key)
        rows.append(
            ModelRow(
                model,
                version,
                running=int(value("conch_queue_running", queue)),
                waiting=int(value("conch_queue_waiting", queue)),
                requests=int(value("conch_requests_total", key)),
                errors=int(value("conch_errors_total", key)),
                tokens_in=int(value("conch_tokens_in_total", key)),
                tokens_out=int(value("conch_tokens_out_total", key)),
                tokens_per_s=change("conch_tokens_out_total", key) / seconds if before and seconds > 0 else 0.0,
                first_s=change("conch_first_token_seconds_sum", key) / firsts if firsts > 0 else None,
            )
        )
    restarts = {key[0]: int(count) for key, count in now.get("conch_worker_restarts_total", {}).items() if count}
    down = tuple(key[0] for key, up in now.get("conch_runtime_up", {}).items() if not up)
    return Look(tuple(rows), restarts, down)


def _has_version(samples: _Samples, model: str) -> bool:
    return any(key[0] == model for key in samples.get("conch_requests_total", {}))
