"""Where packaged and fetched files are."""

from __future__ import annotations

from pathlib import Path

import pytest

from conch_ollama.resources import cache_folder


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        ("linux", ".cache/conch"),
        ("darwin", "Library/Caches/conch"),
        ("win32", "AppData/Local/conch/cache"),
    ],
)
def test_the_cache_is_where_the_system_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, expected: str
) -> None:
    for name in ("CONCH_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setattr("sys.platform", platform)
    assert cache_folder() == tmp_path / expected
