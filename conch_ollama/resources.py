"""Where the files that travel with the package are: `modelfiles/` and `data/`.

In a wheel they lie inside the package; in a checkout they stand at the top of the repository.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def _folder(name: str) -> Path:
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def modelfiles_folder() -> Path:
    """Folder of the curated chat templates and parameters, one folder a family."""
    return _folder("modelfiles")


def data_folder() -> Path:
    """Folder of `magic_conch.json`, `dataset_info.json` and the demonstration adapter."""
    return _folder("data")
