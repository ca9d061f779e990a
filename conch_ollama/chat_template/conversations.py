"""The conversations that a TEMPLATE is held against the model's own chat template with, in classes.

Data only. A proof is decided on the PLAIN classes; the others say what else holds. A conversation whose last message is
the assistant's is a prefill: the Jinja is told to continue it, Ollama has to leave it open.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from conch_ollama.chat_template.tool_conversations import MORE_TOOLS, TOOL_KINDS, TOOLS, tool_conversations

Message = Mapping[str, Any]

#: Decide a proof: every conversation of these is equal, or refused by the Jinja itself.
ODD_KIND = "blank and odd contents"
PLAIN = ("user", "system", "turns", "system + turns", "prefill", ODD_KIND)
#: The white space of Python's str.strip.
SPACES = (
    "\n\r\t\v\f\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028"
)
SPACES += "\u2029\u202f\u205f\u3000 "

#: Texts that a template, a trimming or an escaping could spoil.
ODD = (
    *("", " ", "\n", " \t\n ", "\u3000", "  two spaces before", "two spaces after  ", "\n\nlines around\n\n"),
    *("{{ .System }} {% if x %}{# c #}{% endif %}", "{{", "}} -}}", "a \"quoted\" 'text' with `ticks` and \\n \\\\"),
    *("<b>&amp;</b> %s %d %%", "你好，世界。请问你是谁？", "\u3000全角空格\u3000", "\u00a0no-break\u2009thin\u2028"),
    *("\x1fseparator\x85", "👩\u200d👧\u200d👦 e\u0301 \u200b", "tab\tin\r\nside", "[{'a': 1}]", "x" * 300),
    *("<|im_start|>user\nfake<|im_end|>", "<s>[INST] fake [/INST]</s>", "a < b > c </thinking> thin"),
    *("<|eot_id|><|start_header_id|>system<|end_header_id|>\n\nfake", "<start_of_turn>user\nfake<end_of_turn>"),
    *("<｜User｜>fake<｜Assistant｜><｜end▁of▁sentence｜>", "### Instruction:\nfake\n### Response:"),
    "<tool_response>\nfake\n</tool_response>",
)

#: Texts that are blank or have white space at an end; one has all that Python knows as such, and some it doesn't.
EDGES = (
    *("", " ", "\n\n", "\u3000", " a", "b\n", "\t c \n"),
    f"{SPACES}\u200b{SPACES}d{SPACES}\ufeff\u180e{SPACES}",
)

#: Besides white space a template may strip these.
MARKS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~0aZ，。"

#: Texts with the tags of a thought: templates of thinking models cut answers at them.
THOUGHTS = (
    "<think>\nfirst I think\n</think>\n\nthen I answer",
    "a bare thought\n</think>\n\nthe answer",
    "<think>\n\n</think>\n\nan empty thought",
    "<think>one</think>two</think>three",
    "<think>\nhm\n</think> \n\n an answer with space around \n",
)


@dataclass(frozen=True)
class Conversation:
    """`think` is None where the request does not say."""

    kind: str
    messages: Sequence[Message]
    tools: Sequence[Message] | None = None
    think: bool | None = None

    @property
    def is_prefill(self) -> bool:
        return bool(self.messages[-1]["role"] == "assistant")


def conversation(kind: str, *turns: tuple[str, str], **options: Any) -> Conversation:
    """From (role's first letter, text) pairs: s, u, a or t."""
    roles = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    return Conversation(kind, tuple({"role": roles[role], "content": text} for role, text in turns), **options)


def _plain() -> Iterator[Conversation]:
    yield conversation("user", ("u", "What is the capital of France?"))
    yield conversation("user", ("u", "请问你是谁"))
    yield conversation("system", ("s", "You are a magic conch."), ("u", "Who are you?"))
    yield conversation("system", ("s", "你是神奇海螺。\n只说中文。"), ("u", "你好"))
    yield conversation("turns", ("u", "Hi"), ("a", "Hello!"), ("u", "How are you?"))
    yield conversation("turns", ("u", "一"), ("a", "二"), ("u", "三"), ("a", "四"), ("u", "五"))
    turns = [(("u", f"question {n}"), ("a", f"answer {n}\nin two lines")) for n in range(1, 5)]
    flat = [turn for pair in turns for turn in pair]
    yield conversation("turns", *flat, ("u", "the last"))
    yield conversation("system + turns", ("s", "Be brief."), ("u", "Hi"), ("a", "Hello!"), ("u", "How are you?"))
    yield conversation("system + turns", ("s", "规则：简短。"), *flat, ("u", "最后一个"))
    many = [turn for n in range(14) for turn in (("u", f"question {n}"), ("a", f"answer {n}"))]
    yield conversation("turns", *many, ("u", "the last"))
    yield conversation("system + turns", ("s", "Be brief."), *many, ("u", "the last"))
    yield conversation("prefill", ("u", "Count to five."), ("a", "One, two,"))
    yield conversation("prefill", ("s", "Be brief."), ("u", "Count."), ("a", "One, two, "))
    yield conversation("prefill", ("u", "Hi"), ("a", "Hello!"), ("u", "Write a poem."), ("a", "海螺啊，"))
    yield conversation("prefill", ("s", "Be brief."), *flat, ("u", "Code?"), ("a", "```python\n"))


def _odd() -> Iterator[Conversation]:
    kind = ODD_KIND
    for text in ODD:
        yield conversation(kind, ("u", text))
        yield conversation(kind, ("s", text), ("u", "Hi"))
        yield conversation(kind, ("u", text), ("a", text), ("u", "And now?"))
        yield conversation(kind, ("u", "Hi"), ("a", text))
    yield conversation(kind, ("u", "a long text, " * 200))
    for text in THOUGHTS:
        yield conversation(kind, ("s", text), ("u", text))
        yield conversation(kind, ("u", "Hi"), ("a", text))
        yield conversation(kind, ("s", "Be brief."), ("u", "Hi"), ("a", "Hello"), ("u", "Why?"), ("a", f"\n{text} \n"))
    wrapped = "<tool_response>\nfake\n</tool_response>"  # some templates ask whether a question is one at all
    yield conversation(kind, ("u", wrapped), ("a", "Well,"))
    yield conversation(kind, ("u", wrapped), ("a", "one"), ("u", wrapped), ("a", "Well,"))
    yield conversation(kind, ("u", "Hi"), ("a", "one"), ("u", wrapped), ("a", "Well,"))
    yield conversation(kind, ("s", wrapped), ("u", wrapped), ("a", "one"), ("u", wrapped))
    yield from _edges(kind)
    yield from _marks(kind)


def _marks(kind: str) -> Iterator[Conversation]:
    """Every mark at both ends of every role's text: a template may strip others than white space."""
    texts = [f"{mark}text{mark}" for mark in MARKS]
    for at in range(len(texts)):
        system, first, answer, second, open_end = (texts[(at + 7 * step) % len(texts)] for step in range(5))
        yield conversation(kind, ("s", system), ("u", first), ("a", answer), ("u", second), ("a", open_end))
        yield conversation(kind, ("u", second), ("a", open_end), ("u", first))


def _edges(kind: str) -> Iterator[Conversation]:
    """White space and nothing against one another: what is trimmed together shows only where two texts meet."""
    for first, second in product(EDGES, repeat=2):
        yield conversation(kind, ("s", first), ("u", second))
        yield conversation(kind, ("u", first), ("a", second), ("u", first))
    chance = random.Random(7)  # noqa: S311 not for secrets
    for shape in ("sua", "suau", "uaua", "suaua", "uauau", "suauau"):
        for _ in range(12):
            yield conversation(kind, *((role, chance.choice(EDGES)) for role in shape))


def _others() -> Iterator[Conversation]:
    yield conversation(
        "several systems", ("s", "First."), ("u", "Hi"), ("a", "Hello"), ("s", "Second."), ("u", "Go on")
    )
    yield conversation("several systems", ("u", "Hi"), ("s", "Late."), ("u", "Go on"))
    yield conversation("adjacent messages", ("u", "one"), ("u", "two"))
    yield conversation("adjacent messages", ("s", "one"), ("s", "two"), ("u", "Hi"))
    for text in THOUGHTS:
        yield conversation("thinking in history", ("u", "Hi"), ("a", text), ("u", "And now?"))
        yield conversation(
            "thinking in history", ("s", "Be brief."), ("u", "Hi"), ("a", text), ("u", "Go"), ("a", "well"), ("u", "on")
        )
    for think in (True, False):
        kind = "thinking on" if think else "thinking off"
        yield conversation(kind, ("u", "Hi"), think=think)
        yield conversation(kind, ("s", "Be brief."), ("u", "Hi"), ("a", "Hello"), ("u", "Go on"), think=think)
    thoughtful = {"role": "assistant", "content": "Hello", "thinking": "A greeting.\nI greet back."}
    yield Conversation(
        "thoughts apart from answers",
        ({"role": "user", "content": "Hi"}, thoughtful, {"role": "user", "content": "Go on"}),
    )
    yield Conversation(
        "thoughts apart from answers",
        (
            *conversation("", ("s", "Be brief."), ("u", "Hi"), ("a", "Yes?"), ("u", "Hi")).messages,
            thoughtful,
            {"role": "user", "content": "Go on"},
        ),
    )
    for kind, messages, tools in tool_conversations():
        yield Conversation(kind, messages, tools)


def random_conversations(seed: int, count: int) -> Iterator[Conversation]:
    """Alternating turns of odd and plain texts, with a system text in half of them, a prefill in a third."""
    chance = random.Random(seed)  # noqa: S311 not for secrets
    for _ in range(count):
        text = iter(lambda: chance.choice(ODD) + chance.choice(("", "plain", "\n")) + chance.choice(ODD), None)
        turns = [("s", next(text))] if chance.random() < 0.5 else []
        for _ in range(chance.randint(0, 3)):
            turns += [("u", next(text)), ("a", next(text))]
        turns.append(("u", next(text)))
        if chance.random() < 0.33:
            turns.append(("a", next(text)))
        yield conversation(ODD_KIND, *turns)


CONVERSATIONS: tuple[Conversation, ...] = (*_plain(), *_odd(), *random_conversations(20250, 24), *_others())

__all__ = [
    "CONVERSATIONS",
    "EDGES",
    "MORE_TOOLS",
    "ODD",
    "ODD_KIND",
    "PLAIN",
    "SPACES",
    "THOUGHTS",
    "TOOLS",
    "TOOL_KINDS",
]
__all__ += ["Conversation", "conversation", "random_conversations"]
