"""Writes a format's Jinja: the text that LLaMA-Factory encodes, as one plain chat template.

Literal tokens instead of `bos_token` and `eos_token`, since training may have replaced the EOS. Not copied from
LLaMA-Factory's own `_get_jinja_template`, which leaves out thoughts and tools and knows no empty system text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from conch_ollama.chat_template.trained.slots import SPACE, Slots, literal, spaced
from conch_ollama.chat_template.trained.table import Format
from conch_ollama.chat_template.trained.tools import BETWEEN_RESULTS, TOOL_FORMATS, ToolFormat, called, listed

_END_OF_THOUGHT = "</think>"
_ORDER = "questions and answers take turns, after one system text at most"


@dataclass(frozen=True)
class Thoughts:
    """What becomes of the thoughts of a reasoning format.

    `asked`: the model begins its own thought, unless the request says no; else the prompt ends with the empty one.
    `kept`, `history_kept`: training left thoughts in the last answer, in old ones; where it took them out, line feeds
    in front went with them. `history_filled`: old answers got the empty thought where they had none.
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
    observation: Slots
    function: Slots
    thought: Slots
    eos: str

    @property
    def tools(self) -> ToolFormat | None:
        """How tools are told, where it is known."""
        return TOOL_FORMATS.get(self.form.tool_format)

    @property
    def generation_prompt(self) -> str:
        """What questions and results end with alike, behind the end of the turn; "" without tools, or if there is none.

        LLaMA-Factory has it in its slots. It is told apart for tools only: for the rest it makes no difference.
        """
        if self.tools is None:
            return ""
        end_of_turn, after_question = self.assistant.halves()[1], self.user.halves()[1]
        found = after_question.removeprefix(end_of_turn)
        known = found != after_question and self.observation.halves()[1].endswith(end_of_turn + found)
        return found if known else ""


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
    if parts.tools is not None:
        yield from listed(parts.tools)
    yield from _written(parts.prefix, "")
    if not parts.form.joins_system:
        yield "{%- if system_message -%}"
        yield from _written(parts.system, "system_message", spaced(parts.prefix, parts.system))
        yield "{%- endif -%}"
    asking = ["'user'"] if parts.tools is None else ["'user'", "'tool'"]
    yield "{%- for message in loop_messages -%}"
    yield "{%- set content = message['content'] -%}"
    yield "{%- set before = '' if loop.first else loop_messages[loop.index0 - 1]['role'] -%}"
    yield "{%- if message['role'] == 'user' and before in ['', 'assistant'] -%}"
    yield from _user(parts, thoughts)
    yield f"{{%- elif message['role'] == 'assistant' and before in [{', '.join(asking)}] -%}}"
    yield from _assistant(parts, thoughts)
    if parts.tools is not None:
        yield "{%- elif message['role'] == 'tool' and before in ['assistant', 'tool'] -%}"
        yield from _result(parts, thoughts)
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
    prompt = parts.generation_prompt
    if prompt:
        before, after = parts.user.halves()
        yield f"{{{{- {literal(before)} + content + {literal(after.removesuffix(prompt))} -}}}}"
    else:
        yield from _written(parts.user, "content")
    yield from _prompt(parts, thoughts)


def _prompt(parts: Parts, thoughts: Thoughts) -> Iterator[str]:
    """What a question ends with: the generation prompt, if it does not stand in the slots, and the empty thought."""
    form = parts.form
    prompt = parts.generation_prompt
    if prompt:
        yield f"{{%- if add_generation_prompt or not loop.last -%}}{{{{- {literal(prompt)} -}}}}{{%- endif -%}}"
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


def _result(parts: Parts, thoughts: Thoughts) -> Iterator[str]:
    """A tool's result; those that follow one another stand in one turn."""
    opening, closing = parts.observation.halves()
    closing = closing.removesuffix(parts.generation_prompt)
    yield f"{{{{- {literal(BETWEEN_RESULTS)} if before == 'tool' else {literal(opening)} -}}}}"
    yield "{{- content -}}"
    yield "{%- if loop.last or loop_messages[loop.index0 + 1]['role'] != 'tool' -%}"
    yield f"{{{{- {literal(closing)} -}}}}"
    yield from _prompt(parts, thoughts)
    yield "{%- endif -%}"


def _assistant(parts: Parts, thoughts: Thoughts) -> Iterator[str]:
    form = parts.form
    if form.empty_thought:
        yield from _without_thought(parts, thoughts)
        if not thoughts.history_filled:
            yield "{%- if loop.last -%}"
        yield from _written(parts.thought, "", spaced(parts.user, parts.thought))
        if not thoughts.history_filled:
            yield "{%- endif -%}"
    yield from _answer(parts, parts.thought if form.empty_thought and thoughts.history_filled else parts.user)
    if form.efficient_eos:
        yield f"{{%- if loop.last -%}}{{{{- {literal(parts.eos)} -}}}}{{%- endif -%}}"


def _answer(parts: Parts, behind: Slots) -> Iterator[str]:
    """An answer's text, or the calls of tools that stand for it, behind other slots."""
    if parts.tools is not None:
        yield "{%- if message['tool_calls'] -%}"
        yield from called(parts.tools)
        yield from _written(parts.function, "content", spaced(behind, parts.function))
        yield "{%- else -%}"
    yield from _written(parts.assistant, "content", spaced(behind, parts.assistant))
    if parts.tools is not None:
        yield "{%- endif -%}"


def _without_thought(parts: Parts, thoughts: Thoughts) -> Iterator[str]:
    """Takes a thought out of an answer, and line feeds in front where training did.

    Not as training does: it leaves a thought in its place, or takes out every one. Neither could be proven of a
    TEMPLATE, and Ollama hands out answers without their thoughts. Tags other than "</think>" are not looked for.
    """
    cuts = _END_OF_THOUGHT in parts.form.thought_words[1]
    # Behind a tag of the template's own, transformers can't tell that one has gone from an answer to be continued.
    cuts_last = cuts and not f"{parts.form.empty_thought}{parts.assistant.halves()[0]}".endswith(_END_OF_THOUGHT)
    history, last = _taken_out(cuts, thoughts.history_kept), _taken_out(cuts_last, thoughts.kept)
    if history == last:
        yield from history
        return
    for place, lines in (("not loop.last", history), ("loop.last", last)):
        if lines:
            yield f"{{%- if {place} -%}}"
            yield from lines
            yield "{%- endif -%}"


def _taken_out(cuts: bool, kept: bool) -> list[str]:
    cut = f".split({literal(_END_OF_THOUGHT)})[-1]" if cuts else ""
    change = f"{{%- set content = content{cut}.lstrip('\\n') -%}}"
    if not kept:
        return [change]
    return [f"{{%- if {literal(_END_OF_THOUGHT)} in content -%}}{change}{{%- endif -%}}"] if cuts else []
