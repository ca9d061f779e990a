"""Writes `conch_ollama/chat_template/trained/formats.json` from the registry of the installed LLaMA-Factory.

`python -m tests_training.formats_table`. Facts only: names, slots, stop words, tags of a thought, and the class that
joins them. What the slots come to is `chat_template/trained/formats.py`'s business.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import conch_ollama.chat_template.trained as trained

PATH = Path(trained.__file__).with_name("formats.json")
_SPECIAL = ("bos_token", "eos_token")
_BASE_PLUGIN = "BasePlugin"


def table() -> dict[str, Any]:
    """What `formats.json` holds: the version it was read from, and a row for each format."""
    from llamafactory.data.template import TEMPLATES

    rows = {name: _row(template) for name, template in sorted(TEMPLATES.items())}
    return {"source": f"LLaMA-Factory {version('llamafactory')}, src/llamafactory/data/template.py", "formats": rows}


def _row(template: Any) -> dict[str, Any]:
    """Keys at their usual values are left out."""
    plugin = type(template.mm_plugin).__name__
    row = {
        "kind": type(template).__name__,
        "prefix": _slots(template.format_prefix.slots),
        "system": _slots(template.format_system.slots),
        "user": _slots(template.format_user.slots),
        "assistant": _slots(template.format_assistant.slots),
        "observation": _slots(template.format_observation.slots),
        "function": _slots(template.format_function.slots),
        "tool_format": _tool_format(template),
        "default_system": template.default_system,
        "stop_words": list(template.stop_words),
        "thought_words": list(template.thought_words),
        "efficient_eos": template.efficient_eos,
        "replace_eos": template.replace_eos,
        "replace_jinja_template": template.replace_jinja_template,
        "media": "" if plugin == _BASE_PLUGIN else plugin,
    }
    return {key: value for key, value in row.items() if value}


def _slots(slots: Iterable[Any]) -> list[Any]:
    """Texts; {"token": …} for a token by name; {"special": …} for the tokenizer's own BOS or EOS.

    A set with any other name in it (phi_small's prefix) writes nothing in LLaMA-Factory, so it is left out.
    """
    found: list[Any] = []
    for slot in slots:
        if isinstance(slot, set):
            found += [{"special": name} for name in _SPECIAL if name in slot][:1]
        elif slot:
            found.append(slot)
    return found


def _tool_format(template: Any) -> str:
    return getattr(template.format_tools, "tool_format", None) or ""


def text() -> str:
    """The file: a line for each key, so that a change of LLaMA-Factory's shows as one."""
    whole = table()
    rows = ",\n".join(
        f"  {json.dumps(name)}: {{\n"
        + ",\n".join(f"    {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in row.items())
        + "\n  }"
        for name, row in whole["formats"].items()
    )
    return f'{{"source": {json.dumps(whole["source"])}, "formats": {{\n{rows}\n}}}}\n'


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8", newline="\n")
