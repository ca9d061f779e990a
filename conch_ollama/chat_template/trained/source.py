"""Writes a format's Jinja: the text that LLaMA-Factory encodes, as one plain chat template.

Literal tokens instead of `bos_token` and `eos_token`, since training may have replaced the EOS. No tools. Not copied
from LLaMA-Factory's own `_get_jinja_template`, which leaves out thoughts and knows no empty system text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from conch_ollama.chat_template.trained.slots import SPACE, Slots, literal, spaced
from conch_ollama.chat_template.trained.table import Format

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


@dataclass(frozen=True)
class Parts:
    """A format's slots for one tokenizer. `eos` is the EOS in force, see `Format.eos`."""

    form: Format
    prefix: Slots
    system: Slots
    user: Slots
    assistant: Slots
    thought: Slots
    eos: str


def jinja_source(parts: Parts, default_system: str, thoughts: Thoughts) -> str:
    """The chat template. It refuses what training never sees: another order than question, answer, question …"""
    return "\n".join(_lines(parts, default_system, thoughts))


def _lines(parts: Parts, default_system: str, thoughts: Thoughts) -> Iterator[str]:
    yield f"{{%- set system_message = {literal(default_system)} -%}}"
    yield "{%- set loop_messages = messages -%}"
    yield "{%- if messages[0]['role'] == 'system' -%}"
    yield "{%- set loop_messages = messages[1:] -%}"
    yield "{%- if messages[0]['content'] -%}{%- set system_message = messages[0]['content'] -%}{%- endif -%}"
    yield "{%- endif -%}"
    yield from _written(parts.prefix, "")
    if not parts.form.joins_system:
        yield "{%- if system_message -%}"
        yield from _written(parts.system, "system_message", spaced(parts.prefix, parts.system))
        yield "{%- endif -%}"
    yield "{%- for message in loop_messages -%}"
    yield "{%- set content = message['content'] -%}"
    yield "{%- if message['role'] == 'user' and loop.index0 % 2 == 0 -%}"
    yield from _user(parts, thoughts)
    yield "{%- elif message['role'] == 'assistant' and loop.index0 % 2 == 1 -%}"
    yield from _assistant(parts, thoughts)
    yield "{%- else -%}"
    yield f"{{{{- raise_exception({literal(_ORDER)}) -}}}}"
    yield "{%- endif -%}"
    yield "{%- endfor -%}"


def _written(slots: Slots, content: str, space: bool = False) -> Iterator[str]:
    expression = slots.expression(content, SPACE if space else "")
    if expression:
        yield f"{{{{- {expression} -}}}}"


def _user(parts: Parts, thoughts: Thoughts) -> Iterator[str]:
    form = parts.form
    if form.joins_system:  # LLaMA-Factory takes the first slot alone here
        system = parts.system.first.expression("system_message")
        yield f"{{%- if loop.first and system_message -%}}{{%- set content = {system} + content -%}}{{%- endif -%}}"
    yield from _space_before_question(parts)
    yield from _written(parts.user, "content")
    if form.empty_thought:
        asked = " and enable_thinking is defined and enable_thinking is false" if thoughts.asked else ""
        yield f"{{%- if loop.last and add_generation_prompt{asked} -%}}"
        yield from _written(parts.thought, "", spaced(parts.user, parts.thought))
        yield "{%- endif -%}"


def _space_before_question(parts: Parts) -> Iterator[str]:
    """Where the tokenizer puts one: it depends on what stands before the question."""
    bare = spaced(parts.prefix, parts.user)
    cases = {
        "not loop.first": spaced(parts.assistant, parts.user),
        "loop.first and system_message": bare if parts.form.joins_system else spaced(parts.system, parts.user),
        "loop.first and not system_message": bare,
    }
    where = [condition for condition, space in cases.items() if space]
    if len(where) == len(cases):
        yield f"{{{{- {literal(SPACE)} -}}}}"
    elif where:
        yield f"{{%- if {' or '.join(where)} -%}}{{{{- {literal(SPACE)} -}}}}{{%- endif -%}}"


def _assistant(parts: Parts, thoughts: Thoughts) -> Iterator[str]:
    form = parts.form
    after_question = spaced(parts.user, parts.assistant)
    if form.empty_thought:
        yield from _without_thought(form, thoughts)
        opening, closing = (literal(word.strip()) for word in form.thought_words)
        last = "" if thoughts.history_filled else "loop.last and "
        yield f"{{%- if {last}{opening} not in content and {closing} not in content -%}}"
        yield from _written(parts.thought, "", spaced(parts.user, parts.thought))
        yield from _written(parts.assistant, "content", spaced(parts.thought, parts.assistant))
        yield "{%- else -%}"
        yield from _written(parts.assistant, "content", after_question)
        yield "{%- endif -%}"
    else:
        yield from _written(parts.assistant, "content", after_question)
    if form.efficient_eos:
        yield f"{{%- if loop.last -%}}{{{{- {literal(parts.eos)} -}}}}{{%- endif -%}}"


def _without_thought(form: Format, thoughts: Thoughts) -> Iterator[str]:
    """Takes the thought out of `content` where it is to go."""
    if thoughts.kept and thoughts.history_kept:
        return
    if thoughts.kept or thoughts.history_kept:
        yield f"{{%- if {'not loop.last' if thoughts.kept else 'loop.last'} -%}}"
        yield from _cut(*form.thought_words)
        yield "{%- endif -%}"
    else:
        yield from _cut(*form.thought_words)


def _cut(opening: str, closing: str) -> Iterator[str]:
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
