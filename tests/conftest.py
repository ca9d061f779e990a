"""Fixtures shared by all rooms: the real parts, each provided once a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.parts.ollama import OllamaServer

# A busy machine is no fault of the code under test.
settings.register_profile("conch", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("conch")


@pytest.fixture(scope="session")
def ollama_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OllamaServer]:
    """A real Ollama with an empty store, one for the session; its log carries every rendered prompt."""
    with OllamaServer(tmp_path_factory.mktemp("ollama") / "models", debug=True) as server:
        yield server


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """SmolLM2-135M-Instruct, Q4_1."""
    from tests.parts.smollm2 import smollm2_gguf as provide_gguf

    return provide_gguf()


_CAUSE = "cause"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        marker = item.get_closest_marker("bad_input")
        if marker is not None:
            # Reports carry it, also from process to process.
            item.user_properties.append((_CAUSE, str(marker.args[0])))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many distinct causes of failure the run covered."""
    passed: list[pytest.TestReport] = terminalreporter.stats.get("passed", [])
    causes = {cause for report in passed for name, cause in report.user_properties if name == _CAUSE}
    terminalreporter.write_line(f"bad input: {len(causes)} distinct causes")
