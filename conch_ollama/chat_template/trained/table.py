"""LLaMA-Factory's prompt formats as data: `formats.json`, which `tests_training/formats_table.py` writes.

Names and slots only; `source.py` makes a Jinja of them.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from conch_ollama.errors import NotFoundError

#: A text, {"token": a token by its name}, or {"special": "bos_token" or "eos_token"}.
Slot = str | Mapping[str, str]

_REASONING = ("ReasoningTemplate", "Glm47ReasoningTemplate")
_NO_EOS = "<|endoftext|>"
_TOKEN_AT_END = re.compile(r"(<[^<>\s]+>|\[[^\[\]\s]+\[)\s*$")


@dataclass(frozen=True)
class Format:
    """One format. `kind` is LLaMA-Factory's class; `user` holds the generation prompt too.

    `efficient_eos`: the EOS stands only behind the last answer. `replace_eos`: the first stop word becomes the EOS.
    `replace_jinja_template`: LLaMA-Factory writes a chat template of its own into the tokenizer. `media`: its plug-in
    for pictures, sound or film, which leaves text alone. `tool_format`: how tools are told, see `tools.py`.
    """

    name: str
    kind: str
    user: tuple[Slot, ...]
    assistant: tuple[Slot, ...]
    system: tuple[Slot, ...]
    prefix: tuple[Slot, ...] = ()
    observation: tuple[Slot, ...] = ()
    function: tuple[Slot, ...] = ()
    default_system: str = ""
    stop_words: tuple[str, ...] = ()
    thought_words: tuple[str, ...] = ()
    tool_format: str = ""
    media: str = ""
    efficient_eos: bool = False
    replace_eos: bool = False
    replace_jinja_template: bool = False

    @property
    def is_reasoning(self) -> bool:
        return self.kind in _REASONING

    @property
    def joins_system(self) -> bool:
        """Whether the system text stands inside the first question."""
        return self.kind == "Llama2Template"

    @property
    def empty_thought(self) -> str:
        """What stands before an answer without a thought; "" where the format knows no thoughts."""
        if not self.is_reasoning:
            return ""
        return self.thought_words[1] if self.kind == "Glm47ReasoningTemplate" else "".join(self.thought_words)

    def eos(self, eos_token: str) -> str:
        """The EOS that training ends answers with, given the tokenizer's own."""
        return self.stop_words[0] if self.replace_eos else eos_token or _NO_EOS

    def stops(self, eos_token: str) -> tuple[str, ...]:
        """What ends an answer, as texts: EOS, stop words, and a token that every answer ends with.

        Without stop words that an answer holds: those of a thought (gpt_oss), and yi_vl's "###", which as a text would
        end an answer at a heading.
        """
        last = self.assistant[-1]
        ending = _TOKEN_AT_END.search(last) if isinstance(last, str) else None
        words = (self.eos(eos_token), *self.stop_words, *((ending[1],) if ending else ()))
        thought = "".join(self.thought_words) if self.is_reasoning else ""
        return tuple(dict.fromkeys(word for word in words if word not in thought and any(map(str.isalpha, word))))


@cache
def formats() -> Mapping[str, Format]:
    """All formats by name."""
    content = json.loads(Path(__file__).with_name("formats.json").read_text(encoding="utf-8"))
    return {name: Format(name=name, **_frozen(row)) for name, row in content["formats"].items()}


def _frozen(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}


def names() -> tuple[str, ...]:
    """The names that `template:` may have, sorted."""
    return tuple(sorted(formats()))


def format_by_name(name: str) -> Format:
    """Raises NotFoundError, which names the nearest."""
    found = formats().get(name)
    if found is not None:
        return found
    near = difflib.get_close_matches(name, names(), 5, 0.5)
    raise NotFoundError(
        f"LLaMA-Factory has no template {name!r}",
        hint=f"near ones: {', '.join(near)}" if near else f"known: {', '.join(names())}",
    )
