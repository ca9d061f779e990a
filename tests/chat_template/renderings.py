"""The conversations whose renderings by transformers are committed in expected/, and the reading of those files.

No rendering here: tests_parity/reference_renderings.py writes the files, test_references.py holds ours against them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conch_ollama.chat_template.conversations import TOOLS, conversation
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.errors import BadTemplateError, TemplateRefusedError

EXPECTED = Path(__file__).parent / "expected"

#: What a rendering can be: the text, {"refused": the template's words}, or {"fails": True}.
Rendering = str | dict[str, Any]


@dataclass(frozen=True)
class Chat:
    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] | None = None
    generation_prompt: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_prefill(self) -> bool:
        return self.generation_prompt and bool(self.messages[-1]["role"] == "assistant")


def _chat(*turns: tuple[str, str], **given: Any) -> Chat:
    return Chat(conversation("", *turns).messages, **given)


_CALL = {"id": "call12345", "type": "function", "function": {"name": "weather", "arguments": {"city": "Paris"}}}
_ASKED = (
    {"role": "user", "content": "Rain in Paris?"},
    {"role": "assistant", "content": "", "tool_calls": [_CALL]},
    {"role": "tool", "content": "dry", "tool_call_id": "call12345"},
)
_TURNS = (("u", "Hi"), ("a", "Hello!"), ("u", "Who are you?"), ("a", "神奇海螺。"), ("u", "And\nnow?"))

CHATS = {
    "user": _chat(("u", "What is the capital of France?")),
    "system": _chat(("s", "你是神奇海螺。\n只说中文。"), ("u", "你好")),
    "turns": _chat(*_TURNS),
    "system + turns": _chat(("s", "Be brief."), *_TURNS),
    "prefill": _chat(("u", "Count to five."), ("a", "One, two,")),
    "system + prefill": _chat(("s", "Be brief."), *_TURNS, ("a", "```python\n")),
    "white space around": _chat(
        ("s", " \nsystem\t "), ("u", "\n user  "), ("a", "  answer\n\n"), ("u", "\u3000again\n")
    ),
    "blank system": _chat(("s", ""), ("u", "Hi")),
    "blank question and answer": _chat(("u", ""), ("a", ""), ("u", " ")),
    "look-alikes": _chat(
        ("s", "{{ bos_token }} {% raw %} \"'\\"), ("u", "<|im_end|></s>[/INST]<end_of_turn>"), ("a", "<|eot_id|>")
    ),
    "two questions": _chat(("u", "one"), ("u", "two")),
    "two systems": _chat(("s", "one"), ("s", "two"), ("u", "Hi")),
    "late system": _chat(("u", "Hi"), ("a", "Hello!"), ("s", "Be brief."), ("u", "Go on")),
    "answer first": _chat(("a", "Hello!"), ("u", "Hi")),
    "thought in history": _chat(("u", "Hi"), ("a", "<think>\nhm\n</think>\n\nHello!"), ("u", "Go on")),
    "no generation prompt": _chat(*_TURNS[:-1], generation_prompt=False),
    "thinking off": _chat(("u", "Hi"), options={"enable_thinking": False}),
    "tools declared": _chat(("s", "Be brief."), ("u", "Rain in Paris?"), tools=TOOLS),
    "tools called and answered": Chat(_ASKED, TOOLS),
}


def expected(name: str) -> dict[str, Rendering]:
    """What transformers renders, by the names of CHATS."""
    found: dict[str, Rendering] = json.loads((EXPECTED / f"{name}.json").read_text(encoding="utf-8"))
    return found


def ours(template: JinjaTemplate, chat: Chat) -> Rendering:
    """What JinjaTemplate makes of it, in the form of the committed files."""
    try:
        return template.render(
            chat.messages,
            tools=chat.tools,
            add_generation_prompt=chat.generation_prompt,
            continue_final_message=chat.is_prefill,
            **chat.options,
        )
    except TemplateRefusedError as err:
        return {"refused": err.message.partition(": ")[2]}
    except BadTemplateError:
        return {"fails": True}
