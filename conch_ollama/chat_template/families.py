"""The curated templates of `modelfiles/`: one folder a family, with `template.gotmpl` and `family.toml`.

A family is a candidate and no more: whether it fits a model is decided by `prove.py`, on rendered bytes. A family with
a default system text has the slot `"@DEFAULT_SYSTEM@"` in its template, so that it serves other default texts too.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from conch_ollama.chat_template.go.escapes import quote
from conch_ollama.errors import BadFileError, BadTemplateError
from conch_ollama.resources import modelfiles_folder

SLOT = '"@DEFAULT_SYSTEM@"'


@dataclass(frozen=True)
class Family:
    """`template` still has its slot; `text()` fills it."""

    name: str
    template: str
    description: str
    source: str
    stops: tuple[str, ...]
    default_system: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    notes: str = ""

    @property
    def has_slot(self) -> bool:
        return SLOT in self.template

    def text(self, default_system: str | None = None) -> str:
        """The TEMPLATE with this default system text, or with the family's own."""
        chosen = self.default_system if default_system is None else default_system
        return self.template.replace(SLOT, go_string(chosen or ""))


def go_string(text: str) -> str:
    """A Go string literal that survives a Modelfile, which drops characters that can't be printed."""
    return quote(text.encode("utf-8")).decode("utf-8")


def read_family(folder: Path) -> Family:
    """Raises BadFileError where a file is missing or says something unknown."""
    try:
        data = tomllib.loads((folder / "family.toml").read_text(encoding="utf-8"))
        template = (folder / "template.gotmpl").read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, tomllib.TOMLDecodeError) as err:
        raise BadFileError(f"the template family {folder.name} can't be read: {err}") from err
    data["stops"] = tuple(data.get("stops", ()))
    try:
        family = Family(name=folder.name, template=template, **data)
    except TypeError as err:
        raise BadFileError(f"{folder / 'family.toml'}: {err}") from err
    if family.has_slot != (family.default_system is not None):
        raise BadTemplateError(f"template family {folder.name}: default_system and the slot {SLOT} go together")
    return family


@cache
def families() -> tuple[Family, ...]:
    """All curated families, by name."""
    folders = sorted(path.parent for path in modelfiles_folder().glob("*/template.gotmpl"))
    return tuple(read_family(folder) for folder in folders)


def family_by_name(name: str) -> Family:
    found = {family.name: family for family in families()}
    if name not in found:
        raise BadTemplateError(f"no template family {name!r}", hint=f"known: {', '.join(found)}")
    return found[name]
