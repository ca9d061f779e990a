"""A root with files as the kernel writes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def kernel_files(root: Path, files: Mapping[str, str]) -> Path:
    """The root, with these texts at these names below it."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n", encoding="ascii")
    return root
