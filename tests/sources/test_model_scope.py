"""ModelScope where its package is not installed: a clear error. (The package is optional and not in this suite.)"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from conch_ollama.errors import UsageError
from conch_ollama.sources.resolve import resolve_base


@pytest.mark.bad_input("ModelScope without its package")
def test_without_the_package_the_way_to_install_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "modelscope", None)
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path))
    for text in ("modelscope:Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B"):
        with pytest.raises(UsageError, match="not installed") as caught:
            resolve_base(text, hub="modelscope")
        assert "conch-ollama[modelscope]" in (caught.value.hint or "")
