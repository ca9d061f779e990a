"""A tiny exported model, made once a session."""

from __future__ import annotations

import pytest

from conch_ollama.workflows.export import export
from conch_ollama.workflows.results import ExportResult
from tests.parts.tiny import config, write_adapter, write_model


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """A llama with an adapter at q8_0 and f32, checked, in a path with a space and Chinese."""
    folder = tmp_path_factory.mktemp("workflows") / "蟹堡 王"
    base = write_model(folder / "base")
    adapter = write_adapter(folder / "adapter", config())
    return export(base, adapters=[adapter], types=["q8_0", "f32"], name="tiny-conch", out=folder / "out")
