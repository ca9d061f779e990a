"""The hub's names and its cache on disk: which snapshot a `models--org--name` folder offers, and where a path is from.

Downloads nothing.
"""

from __future__ import annotations

import re
from pathlib import Path

from conch_ollama.errors import NotFoundError

_COMMIT = re.compile(r"[0-9a-f]{7,40}\Z")
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*\Z")


def is_hub_id(text: str) -> bool:
    """Whether this looks like `org/name`."""
    return bool(_ID.match(text)) and ".." not in text and "--" not in text


def is_cache_folder(path: Path) -> bool:
    """Whether this is a repository's folder in a hub cache: the one with `snapshots/`."""
    return (path / "snapshots").is_dir() and not (path / "config.json").exists()


def snapshot_in(folder: Path, revision: str | None = None) -> Path:
    """The snapshot of that branch, tag or commit (also its first letters); `main`, or the only one, by default.

    Raises `NotFoundError` that names the snapshots that are there.
    """
    wanted = revision or "main"
    reference = folder / "refs" / wanted
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else wanted
    snapshots = sorted(path for path in (folder / "snapshots").iterdir() if path.is_dir())
    if _COMMIT.match(commit):
        found = [path for path in snapshots if path.name.startswith(commit)]
    else:
        found = snapshots if revision is None else []
    if len(found) == 1:
        return found[0]
    there = ", ".join(path.name for path in snapshots) or "none"
    raise NotFoundError(
        f"{folder} has no single snapshot for the revision {wanted}: there are {there}",
        hint="name one of them as the revision, or download the model again",
    )


def origin_of(snapshot: Path) -> tuple[str, str] | None:
    """Repository and commit, from the path of a snapshot in a cache; None for any other path."""
    place = snapshot.absolute()
    parts = place.parent.parent.name.split("--")
    if place.parent.name != "snapshots" or parts[0] != "models" or len(parts) not in (2, 3):
        return None
    return "/".join(parts[1:]), place.name
