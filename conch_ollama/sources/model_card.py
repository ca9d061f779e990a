"""The licence that a model's folder states, from the front matter of its README.md. Parses no more YAML than that."""

from __future__ import annotations

import re
from pathlib import Path

_FRONT = re.compile(r"\A\ufeff?---\s*\n(.*?)\n---\s*(\n|\Z)", re.DOTALL)
_LINE = re.compile(r"^(license|license_name):[ \t]*(.*?)[ \t]*$", re.MULTILINE)


def read_license(folder: Path) -> str | None:
    """Identifier of the licence ("apache-2.0"), the name of a licence of its own, or None where nothing is stated."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    front = _FRONT.match(text)
    if front is None:
        return None
    found = {key: value.strip("'\"") for key, value in _LINE.findall(front.group(1))}
    stated = found.get("license") or None
    return found.get("license_name") or stated if stated in (None, "other") else stated
