"""Finds the chat templates (Jinja source) of a tokenizer folder. Does not parse or render them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_letters, digits
from typing import Any

from conch_ollama.errors import BadConfigError
from conch_ollama.tokenizers.tokenizer_files import TokenizerFiles, read_json, read_object

_NAME_CHARACTERS = frozenset(ascii_letters + digits)


@dataclass(frozen=True)
class ChatTemplates:
    """`default` is what a chat uses; `named` are the others ("tool_use", "rag" …)."""

    default: str | None = None
    named: Mapping[str, str] = field(default_factory=dict)


def read_chat_templates(files: TokenizerFiles) -> ChatTemplates:
    """Chat templates in transformers' order: `chat_template.jinja`, `tokenizer_config.json`, `chat_template.json`.

    A folder without any, of an adapter, leaves the model's. Raises BadConfigError when one is not text.
    """
    found = _read_folder(files.folder, files.tokenizer_config)
    if found == ChatTemplates() and files.model_folder is not None:
        return _read_folder(files.model_folder, read_object(files.model_folder / "tokenizer_config.json"))
    return found


def _read_folder(folder: Path, tokenizer_config: Mapping[str, Any]) -> ChatTemplates:
    jinja = folder / "chat_template.jinja"
    additional = {
        template_name(path.stem): _read_text(path)
        for path in sorted((folder / "additional_chat_templates").glob("*.jinja"))
    }
    if jinja.is_file():
        return ChatTemplates(_read_text(jinja), additional)
    templates = _parse(tokenizer_config.get("chat_template"), folder / "tokenizer_config.json")
    legacy = folder / "chat_template.json"
    if templates == ChatTemplates() and legacy.is_file():
        content = read_json(legacy)
        templates = _parse(content.get("chat_template") if isinstance(content, dict) else content, legacy)
    return ChatTemplates(templates.default, {**templates.named, **additional})


def template_name(name: str) -> str:
    """Name of a template as it stands in a metadata key: letters and digits, the rest becomes `_`."""
    return "".join(character if character in _NAME_CHARACTERS else "_" for character in name)


def _parse(value: Any, path: Path) -> ChatTemplates:
    """A template, or a list of {"name": …, "template": …}."""
    if value is None:
        return ChatTemplates()
    if isinstance(value, str):
        return ChatTemplates(value)
    entries = [{"name": name, "template": text} for name, text in value.items()] if isinstance(value, dict) else value
    if not isinstance(entries, list):
        raise BadConfigError(
            f"{path}: `chat_template` must be text or a list of named templates, is a {type(value).__name__}"
        )
    named: dict[str, str] = {}
    for entry in entries:
        name = entry.get("name") if isinstance(entry, dict) else None
        text = entry.get("template") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name or not isinstance(text, str):
            raise BadConfigError(f"{path}: `chat_template` holds an entry that is not {{name: text, template: text}}")
        named[template_name(name)] = text
    return ChatTemplates(named.pop("default", None), named)


def _read_text(path: Path) -> str:
    try:
        # newline="" would keep CRLF; transformers reads in text mode, so LF is what the model was trained on.
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise BadConfigError(f"{path}: cannot be read as UTF-8 text: {err}") from err
