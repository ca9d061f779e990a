"""Reads the JSON files of a model's folder, with errors that name the file. Knows none of their keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from conch_ollama.errors import BadConfigError, NotFoundError

LFS_HINT = "the repository was cloned without its large files: run `git lfs pull` in it"


def read_json_object(path: Path) -> dict[str, Any]:
    """The object in the file; a byte order mark is allowed.

    Raises `NotFoundError`, or `BadConfigError` where it is no JSON object or no more than a git-lfs pointer.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError as err:
        raise NotFoundError(f"{path} is not there") from err
    except OSError as err:
        raise BadConfigError(f"{path} can't be read: {err.strerror}") from err
    if is_lfs_pointer(raw):
        raise BadConfigError(f"{path} is a git-lfs pointer, not the file itself", hint=LFS_HINT)
    try:
        found = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as err:
        raise BadConfigError(f"{path} is no JSON: {err}", hint="fetch the file again or repair it") from err
    if not isinstance(found, dict):
        raise BadConfigError(f"{path} holds no JSON object", hint="fetch the file again or repair it")
    return found


def is_lfs_pointer(head: bytes) -> bool:
    """Whether a file that begins so is what git-lfs leaves in the place of a large file."""
    return head.startswith(b"version https://git-lfs")
