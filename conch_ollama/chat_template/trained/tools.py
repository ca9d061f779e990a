"""How some of LLaMA-Factory's formats tell of tools, by its `tool_format`: those that write JSON and no date.

The others' are not rendered: "default" (the most common) and glm4 describe tools in words, llama3 with the day of the
training, gemma4, glm4_moe, lfm2, minimax2, qwen3_5 and seed_oss in notations of their own. Source: data/tool_utils.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from conch_ollama.chat_template.trained.slots import literal

#: LLaMA-Factory's converter of OpenAI's data joins results that follow one another, whatever the format.
BETWEEN_RESULTS = "\n</tool_response>\n<tool_response>\n"


@dataclass(frozen=True)
class ToolFormat:
    """`head`, each tool between `before` and `after` (`array`: all as one JSON list), `tail`: behind the system text.

    `bare`: of a tool the function alone. `call`: what stands before all calls, before each, between two, behind each,
    behind all; a call is {"name": …, "arguments": …}.
    """

    head: str
    tail: str
    call: tuple[str, str, str, str, str]
    before: str = ""
    after: str = ""
    array: bool = False
    bare: bool = False


_QWEN_HEAD = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
_QWEN_TAIL = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
    '<tool_call></tool_call> XML tags:\n<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n'
    "</tool_call>"
)
_QWEN_CALL = ("", "<tool_call>\n", "\n", "\n</tool_call>", "")

TOOL_FORMATS: Mapping[str, ToolFormat] = {
    "ling": ToolFormat(_QWEN_HEAD, f"{_QWEN_TAIL}\ndetailed thinking off", _QWEN_CALL, before="\n"),
    "minimax1": ToolFormat(
        "You are provided with these tools:\n<tools>\n",
        "</tools>\n\nIf you need to call tools, please respond with <tool_calls></tool_calls> XML tags, and provide "
        "tool-name and json-object of arguments, following the format below:\n<tool_calls>\n"
        '{"name": <tool-name-1>, "arguments": <args-json-object-1>}\n...\n</tool_calls>',
        ("<tool_calls>\n", "", "\n", "", "\n</tool_calls>"),
        after="\n",
        bare=True,
    ),
    "mistral": ToolFormat("[AVAILABLE_TOOLS] ", "[/AVAILABLE_TOOLS]", ("[", "", ", ", "", "]"), array=True),
    "qwen": ToolFormat(f"\n\n{_QWEN_HEAD}", _QWEN_TAIL, _QWEN_CALL, before="\n"),
}


def listed(form: ToolFormat) -> Iterator[str]:
    """Appends the declared tools to `system_message`."""
    shown = "tool['function']" if form.bare else "tool"
    yield "{%- if tools -%}"
    yield f"{{%- set listed = namespace(text={literal(form.head)}) -%}}"
    if form.array:
        yield "{%- set listed.text = listed.text + (tools | tojson) -%}"
    else:
        each = " + ".join(part for part in (_text(form.before), f"({shown} | tojson)", _text(form.after)) if part)
        yield f"{{%- for tool in tools -%}}{{%- set listed.text = listed.text + {each} -%}}{{%- endfor -%}}"
    yield f"{{%- set system_message = system_message + listed.text + {literal(form.tail)} -%}}"
    yield "{%- endif -%}"


def called(form: ToolFormat) -> Iterator[str]:
    """Sets `content` to the calls of `message`; a text beside them is dropped, as LLaMA-Factory does."""
    opening, before, between, after, closing = form.call
    yield f"{{%- set calls = namespace(text={literal(opening)}) -%}}"
    yield "{%- for call in message['tool_calls'] -%}"
    if between:
        yield f"{{%- if not loop.first -%}}{{%- set calls.text = calls.text + {literal(between)} -%}}{{%- endif -%}}"
    start = literal(before + '{"name": ')
    yield f"{{%- set calls.text = calls.text + {start} -%}}"
    yield "{%- set calls.text = calls.text + (call['function']['name'] | tojson) + ', \"arguments\": ' -%}"
    yield f"{{%- set calls.text = calls.text + (call['function']['arguments'] | tojson) + {literal('}' + after)} -%}}"
    yield "{%- endfor -%}"
    yield f"{{%- set content = calls.text + {literal(closing)} -%}}" if closing else "{%- set content = calls.text -%}"


def _text(text: str) -> str:
    return literal(text) if text else ""
