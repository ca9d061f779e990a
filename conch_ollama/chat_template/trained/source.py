"""Writes a format's Jinja: the text that LLaMA-Factory encodes, as one plain chat template.

Literal tokens instead of `bos_token` and `eos_token`, since training may have replaced the EOS. No tools. Not copied
from LLaMA-Factory's own `_get_jinja_template`, which leaves out thoughts and knows no empty system text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from conch_ollama.chat_template.trained.table import Format, Slot

_CONTENT = "{{content}}"
_ORDER = "questions and answers take turns, after one system text at most"


@dataclass(frozen=True)
class Thoughts:
    """What becomes of the thoughts of a reasoning format.

    `asked`: the model begins its own thought, unless the request says no; else the prompt ends with the empty one.
    `kept`: the last answer keeps its thought; `history_kept`, `history_filled`: old answers keep theirs, and get the
    empty one where they have none.
    """

    asked: bool = True
    kept: bool = True
    history_kept: bool = True
    history_filled: bool = True


def jinja_source(form: Format, *, bos_token: str, eos_token: str, default_system: str, thoughts: Thoughts) -> str:
    """`eos_token` is the one in force, see `Format.eos`."""
    return "\n".join(_lines(_Writer(form, bos_token, eos_token), default_system, thoughts))


def literal(text: str) -> str:
    """A Jinja string."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\t", "\\t")
    return f"'{escaped}'"


@dataclass(frozen=True)
class _Writer:
    form: Format
    bos_token: str
    eos_token: str

    def joined(self, slots: Sequence[Slot], content: str) -> str:
        """The slots as one Jinja expression; "" if they write nothing."""
        parts: list[tuple[str, str]] = []
        for slot in slots:
            before, found, after = self._text(slot).partition(_CONTENT) if isinstance(slot, str) else (slot, "", "")
            parts.append(("text", self._text(before)))
            parts += [("name", content), ("text", after)] if found else []
        merged: list[tuple[str, str]] = []
        for kind, value in parts:
            if kind == "text" and merged and merged[-1][0] == "text":
                merged[-1] = (kind, merged[-1][1] + value)
            else:
                merged.append((kind, value))
        return " + ".join(literal(value) if kind == "text" else value for kind, value in merged if value)

    def _text(self, slot: Slot) -> str:
        if isinstance(slot, str):
            return slot
        special = {"bos_token": self.bos_token, "eos_token": self.eos_token}
        return slot["token"] if "token" in slot else special[slot["special"]]


def _lines(writer: _Writer, default_system: str, thoughts: Thoughts) -> Iterator[str]:
    form = writer.form
    yield f"{{%- set system_message = {literal(default_system)} -%}}"
    yield "{%- set loop_messages = messages -%}"
    yield "{%- if messages[0]['role'] == 'system' -%}"
    yield "{%- set loop_messages = messages[1:] -%}"
    yield "{%- if messages[0]['content'] -%}{%- set system_message = messages[0]['content'] -%}{%- endif -%}"
    yield "{%- endif -%}"
    prefix = writer.joined(form.prefix, "")
    if prefix:
        yield f"{{{{- {prefix} -}}}}"
    if not form.joins_system:
        yield f"{{%- if system_message -%}}{{{{- {writer.joined(form.system, 'system_message')} -}}}}{{%- endif -%}}"
    yield "{%- for message in loop_messages -%}"
    yield "{%- set content = message['content'] -%}"
    yield "{%- if message['role'] == 'user' and loop.index0 % 2 == 0 -%}"
    yield from _user(writer, thoughts)
    yield "{%- elif message['role'] == 'assistant' and loop.index0 % 2 == 1 -%}"
    yield from _assistant(writer, thoughts)
    yield "{%- else -%}"
    yield f"{{{{- raise_exception({literal(_ORDER)}) -}}}}"
    yield "{%- endif -%}"
    yield "{%- endfor -%}"


def _user(writer: _Writer, thoughts: Thoughts) -> Iterator[str]:
    form = writer.form
    if form.joins_system:  # LLaMA-Factory takes the first slot alone here
        system = writer.joined(form.system[:1], "system_message")
        yield f"{{%- if loop.first and system_message -%}}{{%- set content = {system} + content -%}}{{%- endif -%}}"
    yield f"{{{{- {writer.joined(form.user, 'content')} -}}}}"
    if form.empty_thought:
        asked = " and enable_thinking is defined and enable_thinking is false" if thoughts.asked else ""
        empty = literal(form.empty_thought)
        yield f"{{%- if loop.last and add_generation_prompt{asked} -%}}{{{{- {empty} -}}}}{{%- endif -%}}"


def _assistant(writer: _Writer, thoughts: Thoughts) -> Iterator[str]:
    form = writer.form
    if form.empty_thought:
        yield from _thought(form, thoughts)
    yield f"{{{{- {writer.joined(form.assistant, 'content')} -}}}}"
    if form.efficient_eos:
        yield f"{{%- if loop.last -%}}{{{{- {literal(writer.eos_token)} -}}}}{{%- endif -%}}"


def _thought(form: Format, thoughts: Thoughts) -> Iterator[str]:
    """Takes the thought out of `content` where it is to go, and writes the empty one where there is none."""
    if thoughts.kept != thoughts.history_kept:
        yield f"{{%- if {'not loop.last' if thoughts.kept else 'loop.last'} -%}}"
        yield from _without_thought(*form.thought_words)
        yield "{%- endif -%}"
    elif not thoughts.kept:
        yield from _without_thought(*form.thought_words)
    opening, closing = (literal(word.strip()) for word in form.thought_words)
    where = "" if thoughts.history_filled else "loop.last and "
    yield f"{{%- if {where}{opening} not in content and {closing} not in content -%}}"
    yield f"{{{{- {literal(form.empty_thought)} -}}}}"
    yield "{%- endif -%}"


def _without_thought(opening: str, closing: str) -> Iterator[str]:
    """As LLaMA-Factory's remove_thought: from each opening tag to the next closing one, then the line feeds in front.

    Text is cut at closing tags, so tags that share characters ("<think>\\n</think>\\n\\n") may come out otherwise.
    """
    first, last = literal(opening), literal(closing)
    yield "{%- set rest = namespace(text='') -%}"
    yield f"{{%- for part in content.split({last}) -%}}"
    yield "{%- if loop.last -%}{%- set rest.text = rest.text + part -%}"
    yield f"{{%- elif {first} in part -%}}{{%- set rest.text = rest.text + part.split({first})[0] -%}}"
    yield f"{{%- else -%}}{{%- set rest.text = rest.text + part + {last} -%}}"
    yield "{%- endif -%}"
    yield "{%- endfor -%}"
    yield "{%- set content = rest.text.lstrip('\\n') -%}"
