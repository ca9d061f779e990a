"""Exported folders that are whole, and ones that are not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from conch_ollama.errors import ConchError
from conch_ollama.workflows.folders import open_export_folder
from conch_ollama.workflows.results import ExportResult


def test_a_folder_and_each_modelfile(exported: ExportResult) -> None:
    found = open_export_folder(exported.folder)
    assert (found.name, found.gguf.name) == ("tiny-conch", "tiny-conch.q8_0.gguf")
    assert found.sha256 == exported.files[0].sha256
    assert open_export_folder(exported.modelfiles[1]).sha256 == exported.files[1].sha256


def _refused(path: Path, code: str, word: str) -> None:
    with pytest.raises(ConchError) as caught:
        open_export_folder(path)
    assert caught.value.code == code
    assert word in caught.value.message


@pytest.mark.bad_input("a folder without a Modelfile")
def test_no_modelfile(tmp_path: Path) -> None:
    _refused(tmp_path, "not-found", str(tmp_path))
    _refused(tmp_path / "gone", "not-found", "gone")


@pytest.mark.bad_input("a Modelfile whose GGUF is gone")
def test_a_missing_gguf(tmp_path: Path, exported: ExportResult) -> None:
    shutil.copyfile(exported.modelfiles[0], tmp_path / "Modelfile")
    _refused(tmp_path, "not-found", "tiny-conch.q8_0.gguf")


@pytest.mark.bad_input("an export.json that is cut short")
@pytest.mark.parametrize("text", ['{"name": "x"', "[]"])
def test_a_damaged_report(tmp_path: Path, exported: ExportResult, text: str) -> None:
    shutil.copyfile(exported.modelfiles[0], tmp_path / "Modelfile")
    shutil.copyfile(exported.gguf, tmp_path / exported.gguf.name)
    (tmp_path / "export.json").write_text(text, encoding="utf-8")
    _refused(tmp_path, "bad-config", "export.json")
