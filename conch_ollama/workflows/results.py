"""What the workflows return: plain values that a program can use and the command line prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conch_ollama.exporter.preflight import Preflight


@dataclass(frozen=True)
class ExportedFile:
    """One written file. `size` in bytes; `sha256` in hex; `recipe` None for a shard of a Hugging Face folder."""

    path: Path
    recipe: str | None
    size: int
    sha256: str
    bits_per_weight: float | None = None


@dataclass(frozen=True)
class CheckResult:
    """What the check of one file saw: texts compared, known gaps met, the greedy continuation."""

    path: Path
    texts: int
    gaps: tuple[str, ...]
    continuation: str


@dataclass(frozen=True)
class ExportResult:
    """An export. `template`: where its proven TEMPLATE comes from ("curated:qwen3", "compiled"), None if none is."""

    name: str
    folder: Path
    files: tuple[ExportedFile, ...]
    modelfiles: tuple[Path, ...]
    template: str | None
    num_ctx: int | None
    preflight: Preflight
    checks: tuple[CheckResult, ...]
    warnings: tuple[str, ...]
    provenance: Mapping[str, Any]
    dry_run: bool = False

    @property
    def gguf(self) -> Path:
        """The first GGUF."""
        return next(file.path for file in self.files if file.recipe is not None)
