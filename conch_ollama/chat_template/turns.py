"""A model's turns as its chat template writes them: what follows an answer, what stands inside one. Renders only.

A turn may have several parts: a thought, then an answer or a call of a tool. What ends a part but not the turn (as in
gpt-oss) must not stop the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.ollama_render import OllamaTemplate
from conch_ollama.errors import BadTemplateError

Message = Mapping[str, Any]
#: (messages, whether the answer is still to come) -> prompt
Render = Callable[[Sequence[Message], bool], str]

_ASKED, _ANSWERED, _AGAIN = "\u2402asked\u2403", "\u2402answered\u2403", "\u2402again\u2403"
_THOUGHT = "\u2402thought\u2403"
#: An answer with what ordinary answers are made of: a stop that occurs here cuts them off.
ORDINARY = (
    "Hello! 你好，世界。 Here is how:\n\n1. First, a list.\n2. Then `code` (in brackets):\n\n```python\n"
    "def f(x):\n    return [x, {'a': \"b\"}]  # why\n```\n\n- **Bold**; half of it: 50% / 2 = 25\n\n### A heading\n\n"
    "| a | b |\n|---|---|\n| 1 | 2 |\n\n---\n\n> A question? “Quoted” – and the end …\n"
)
_CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Paris"}}}


#: How templates are given a thought.
_THOUGHTS: tuple[Message, ...] = (
    {},
    {"thinking": _THOUGHT},
    {"reasoning_content": _THOUGHT},
    {"thinking": _THOUGHT, "reasoning_content": _THOUGHT},
)


@dataclass(frozen=True)
class Turns:
    """`after`: from an answer's end to the next question. `inside`: texts that a whole, normal turn consists of.
    `whole`: such turns with marks for texts, to their end: what the template itself writes in them."""

    after: str
    inside: tuple[str, ...]
    whole: tuple[str, ...] = ()

    def goes_on_after(self, text: str) -> bool:
        """Whether a turn of the template's own making goes on after this text: no stop then."""
        return bool(text) and any(text in turn.removesuffix(text) for turn in self.whole)


def useful_stops(jinja: JinjaTemplate, stops: Sequence[str]) -> tuple[str, ...]:
    """Those that occur inside no normal turn. EOS stays: the runtime ends there whatever is asked."""
    turns = Turns("", (), whole_turns(jinja))
    return tuple(stop for stop in stops if stop == jinja.eos_token or not turns.goes_on_after(stop))


def turns_of(jinja: JinjaTemplate | None, template: OllamaTemplate | None) -> Turns | None:
    """By the model's own chat template, else by the TEMPLATE; None where neither shows an answer between questions."""
    if jinja is not None:
        own = jinja

        def by_jinja(messages: Sequence[Message], open_: bool) -> str:
            return own.render(messages, add_generation_prompt=open_)

        found = _turns(by_jinja)
        if found is not None:
            thoughtful = ("<think>\n" + ORDINARY + "</think>\n\n" + ORDINARY,) if "</think>" in jinja.source else ()
            return Turns(found.after, (*found.inside, *thoughtful), whole_turns(own))
    if template is not None and template.uses_messages:
        chosen = template
        return _turns(lambda messages, _open: chosen.execute(list(messages), None, None), closed=False)
    return None


def _turns(render: Render, *, closed: bool = True) -> Turns | None:
    """`closed`: a conversation can be rendered without the beginning of the next answer."""
    question, answer = {"role": "user", "content": _ASKED}, {"role": "assistant", "content": _ANSWERED}
    try:
        text = render([question, answer, {"role": "user", "content": _AGAIN}], True)
    except BadTemplateError:
        return None
    _, found, rest = text.partition(_ANSWERED)
    after, again, _ = rest.partition(_AGAIN)
    if not (found and again):
        return None
    inside = [ORDINARY]
    if closed:
        calls = ({"content": "", "tool_calls": [_CALL]}, {"content": "", "tool_calls": [_CALL, _CALL]})
        for message in ({"content": ORDINARY, "reasoning_content": ORDINARY}, *calls):
            inside += _inside(render, question, {"role": "assistant", **message}, after)
    return Turns(after, tuple(inside))


def _inside(render: Render, question: Message, answer: Message, after: str) -> list[str]:
    """What the model writes of this answer, without what ends it."""
    try:
        prompt, whole = render([question], True), render([question, answer], False)
        end = render([question, {"role": "assistant", "content": _ANSWERED}], False).partition(_ANSWERED)[2]
    except BadTemplateError:
        return []
    return [whole[_shared(prompt, whole) :].rstrip().removesuffix(end.strip() or after.strip())]


def last_end(jinja: JinjaTemplate) -> str:
    """What follows an answer that is the last message; "" where the template refuses one."""
    messages = [{"role": "user", "content": _ASKED}, {"role": "assistant", "content": _ANSWERED}]
    try:
        return jinja.render(messages, add_generation_prompt=False).rpartition(_ANSWERED)[2]
    except BadTemplateError:
        return ""


def whole_turns(jinja: JinjaTemplate) -> tuple[str, ...]:
    """What the model writes in a turn, from the generation prompt on: an answer or a call, with a thought before it or
    none. Only where the template shows that it is all of a turn; its end may be missing."""

    def render(*answer: Message, ask: bool = False) -> str:
        messages = ({"role": "user", "content": _ASKED}, *({"role": "assistant", **one} for one in answer))
        return jinja.render(messages, add_generation_prompt=ask)

    try:
        asked, prompt = render(), render(ask=True)
    except BadTemplateError:
        return ()
    found, end = [], last_end(jinja).strip()
    for thought in _THOUGHTS:
        for answer in ({"content": _ANSWERED}, {"content": "", "tool_calls": [{**_CALL, "id": "call12345"}]}):
            try:
                text = render({**answer, **thought})
            except BadTemplateError:
                continue
            shared = _shared(prompt, text)
            if shared >= len(asked):
                found.append(text[shared:].rstrip().removesuffix(end).rstrip())
    return tuple(dict.fromkeys(found))


def _shared(first: str, second: str) -> int:
    return next((at for at, pair in enumerate(zip(first, second, strict=False)) if pair[0] != pair[1]), len(first))
