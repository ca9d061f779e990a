"""What an export has written under staged names gets its final ones, when it has been checked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from conch_ollama.exporter.plan import Plan
from conch_ollama.workflows.folders import UNCHECKED
from conch_ollama.workflows.results import ExportedFile


def with_final_names(plan: Plan) -> Plan:
    """The plan as if it wrote to where its files come to lie in the end."""
    hf = plan.folder and replace(plan.folder, path=final_name(plan.folder.path))
    return replace(plan, files=tuple(replace(file, path=final_name(file.path)) for file in plan.files), folder=hf)


def final_name(path: Path) -> Path:
    """The name that a staged file, or a file in a staged folder, gets in the end."""
    parent = path.parent.with_name(path.parent.name.removesuffix(UNCHECKED)) if path.parent.name else path.parent
    return parent / path.name.removesuffix(UNCHECKED)


def publish(staged: Sequence[ExportedFile], plan: Plan) -> tuple[ExportedFile, ...]:
    """Give everything its final name."""
    if plan.folder is not None:
        _replace_folder(plan.folder.path, final_name(plan.folder.path))
    for file in staged:
        if file.recipe is not None:
            os.replace(file.path, final_name(file.path))  # noqa: PTH105 - replaces on Windows too
    return tuple(replace(file, path=final_name(file.path)) for file in staged)


def _replace_folder(new: Path, target: Path) -> None:
    old = target.with_name(f"{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)
