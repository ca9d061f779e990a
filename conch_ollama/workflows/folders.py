"""Folders that `conch export` writes: which model, which GGUF, which adapter, which Modelfile."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from conch_ollama.errors import BadConfigError, ModelNameError, NotFoundError, NotWritableError
from conch_ollama.ollama.modelfile import Modelfile, load
from conch_ollama.sources.ollama_store import find_model

REPORT = "export.json"
#: Suffix of a complete file that has not been checked yet.
UNCHECKED = ".unchecked"


@dataclass(frozen=True)
class ExportFolder:
    """One model of an exported folder. `report` is export.json, empty for none; `adapter` goes over `gguf`."""

    folder: Path
    name: str
    gguf: Path
    modelfile: Modelfile
    report: Mapping[str, Any]
    adapter: Path | None = None

    @property
    def sha256(self) -> str | None:
        """Hash of the GGUF as export.json records it, unless the file has changed size since."""
        file = self._file
        return str(file["sha256"]) if file and self.gguf.stat().st_size == file.get("bytes") else None

    @property
    def recipe(self) -> str | None:
        """The type that the GGUF was exported with ("q4_K_M")."""
        file = self._file
        return str(file["type"]) if file else None

    @property
    def _file(self) -> Mapping[str, Any] | None:
        return next((file for file in self.report.get("files", []) if file.get("file") == self.gguf.name), None)


def open_export_folder(path: Path) -> ExportFolder:
    """Read an exported folder, or one Modelfile in it.

    Raises NotFoundError where there is no Modelfile or no GGUF, BadConfigError for a broken export.json,
    BadModelfileError.
    """
    file = path / "Modelfile" if path.is_dir() else path
    if not file.is_file():
        what = f"no Modelfile in {path}" if path.is_dir() else f"no such folder or Modelfile: {path}"
        raise NotFoundError(what, hint="give the folder that `conch export` wrote")
    folder = file.parent
    modelfile = load(file)
    if modelfile.adapter is not None:
        modelfile = _over_a_stored_model(modelfile, folder)
    gguf = folder / modelfile.from_
    if not gguf.is_file():
        raise NotFoundError(
            f"{file} says FROM {modelfile.from_}, which is not there", hint="export again, or mend FROM"
        )
    report = _report(folder / REPORT)
    adapter = folder / modelfile.adapter if modelfile.adapter is not None else None
    if adapter is not None and not adapter.is_file():
        raise NotFoundError(f"{file} says ADAPTER {modelfile.adapter}, which is not there", hint="export again")
    return ExportFolder(folder, str(report.get("name") or folder.resolve().name), gguf, modelfile, report, adapter)


def _over_a_stored_model(modelfile: Modelfile, folder: Path) -> Modelfile:
    """With the file of the local Ollama's model that FROM names, if it names one and no file."""
    if (folder / modelfile.from_).is_file():
        return modelfile
    try:
        return replace(modelfile, from_=str(find_model(modelfile.from_).path))
    except (NotFoundError, ModelNameError):
        return modelfile


def make_folder(folder: Path) -> None:
    """Make the folder of an export. Raises NotWritableError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise NotWritableError(f"can't make the folder {folder}: {err.strerror}", hint="choose another -o") from err


def write_text(path: Path, text: str) -> None:
    """Write a text whole or not at all, with \\n at the ends of lines."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    os.replace(partial, path)  # noqa: PTH105 - replaces on Windows too


def _report(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as err:
        raise BadConfigError(f"{path} is no JSON: {err}", hint="export again, or remove the file") from err
    if not isinstance(found, dict):
        raise BadConfigError(f"{path} holds no object", hint="export again, or remove the file")
    return found
