"""Folders that `conch export` wrote: which model, which GGUF, which Modelfile."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conch_ollama.errors import BadConfigError, NotFoundError
from conch_ollama.ollama.modelfile import Modelfile, load

REPORT = "export.json"
#: Suffix of a complete file that has not been checked yet.
UNCHECKED = ".unchecked"


@dataclass(frozen=True)
class ExportFolder:
    """One model of an exported folder. `report` is export.json, empty where there is none."""

    folder: Path
    name: str
    gguf: Path
    modelfile: Modelfile
    report: Mapping[str, Any]

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
    gguf = folder / modelfile.from_
    if not gguf.is_file():
        raise NotFoundError(
            f"{file} says FROM {modelfile.from_}, which is not there", hint="export again, or mend FROM"
        )
    report = _report(folder / REPORT)
    return ExportFolder(folder, str(report.get("name") or folder.resolve().name), gguf, modelfile, report)


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
