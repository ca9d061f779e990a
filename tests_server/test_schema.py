"""Schemathesis on the shim's own OpenAPI document, in front of the real llama.cpp with a model that says an exact text.

At least 2,000 examples, at least 30 in 100 of them reach the model; nothing but documented statuses and shapes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from conch_ollama.runtimes.llama_models import LlamaCppModel
from conch_ollama.runtimes.llama_server import LlamaCppRuntime
from conch_ollama.server.app import make_app
from conch_ollama.server.settings import Settings
from tests.runtimes.places import write_models
from tests.server.running import RunningShim, with_limits

EXAMPLES = 200
SEEN: Counter[str] = Counter()
#: A runtime that can't do it, that fails, that has no room.
DOCUMENTED = {501, 502, 503}
load_all_checks()


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningShim]:
    path = write_models(tmp_path_factory.mktemp("models"))["plain"]
    model = LlamaCppModel("plain", path, num_ctx=2048, slots=2, threads=1)
    with RunningShim(lambda: {"llama.cpp": LlamaCppRuntime([model])}, with_limits(max_tokens=4)) as running:
        yield running


def operations() -> list[Any]:
    schema = schemathesis.openapi.from_dict(make_app(Settings(), {}).openapi())
    return [result.ok() for result in schema.get_all_operations()]


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Most requests are for the model that there is; the others show how an unknown one is refused."""
    if isinstance(body, dict) and isinstance(body.get("model", ""), str) and len(str(body)) % 8:
        body["model"] = "plain"
        if "messages" in body and len(str(body)) % 4 == 1:
            body["messages"] = [{"role": "user", "content": "hi"}]
        if len(str(body)) % 3 == 1:
            body["stream"] = True
    return body


@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.label)
def test_every_operation(shim: RunningShim, operation: Any) -> None:
    checks = [content_type_conformance, response_schema_conformance, status_code_conformance]
    asks_nothing = operation.method == "get" and not operation.query

    @settings(
        max_examples=5 if asks_nothing else EXAMPLES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        response = case.call(base_url=shim.url, timeout=60)
        SEEN["all"] += 1
        SEEN[str(response.status_code)] += 1
        assert response.status_code < 500 or response.status_code in DOCUMENTED, response.text
        case.validate_response(response, checks=checks)

    ask()


def test_enough_of_them_reached_the_model(shim: RunningShim) -> None:
    metrics = shim.client.get("/metrics").text
    reached = sum(
        float(line.rpartition(" ")[2])
        for line in metrics.splitlines()
        if line.startswith("conch_requests_total") and 'result="ok"' in line
    )
    assert SEEN["all"] >= 2000, SEEN
    assert reached / SEEN["all"] >= 0.3, (SEEN, reached)
    assert shim.client.get("/health").status_code == 200
