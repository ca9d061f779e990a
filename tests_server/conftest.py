"""Fixtures of the supervised runtime."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtimes.supervised import gguf, long_gguf
from tests_server.large_gguf import large_gguf

__all__ = ["gguf", "long_gguf"]


@pytest.fixture(scope="session")
def large_ggufs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models of 1.5 billion parameters."""
    folder = tmp_path_factory.mktemp("large")
    return large_gguf(folder / "one.gguf"), large_gguf(folder / "two.gguf")
