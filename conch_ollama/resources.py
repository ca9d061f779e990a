"""Where the files that travel with the package are (`modelfiles/`, `data/`), and where fetched ones are kept.

In a wheel they lie inside the package; in a checkout they stand at the top of the repository.
"""

from __future__ import annotations

import os
import sys
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


def cache_folder() -> Path:
    """Where conch keeps what it fetches: CONCH_CACHE, else the system's folder for caches."""
    named = os.environ.get("CONCH_CACHE")
    if named:
        return Path(named).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "conch" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "conch"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "conch"
