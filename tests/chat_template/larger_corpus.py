"""Conversations that no prover uses: other texts, other lengths, for catching proofs that are false."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache

from conch_ollama.chat_template.compare import Reference, compare, refer, server_for
from conch_ollama.chat_template.conversations import ODD_KIND, Conversation, conversation
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.ollama_render import OllamaTemplate
from conch_ollama.chat_template.verdicts import DIFFERS

_ENDS = (
    "",
    "",
    "",
    " ",
    "\n",
    "  ",
    "\t",
    "\n\n",
    " \n",
    "\r\n",
    "\u3000",
    "\u00a0",
    "\u2003 ",
    "\x0b",
    "\x1c\x85",
    "\u202f\u1680",
)
_WORDS = (
    *(
        "rain",
        "神奇",
        "海螺",
        "def f(x):\n    return x",
        "$x := 1",
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "a|b",
        "é",
        "🐚",
        "0",
    ),
    *(
        "<|im_end|>",
        "</s>",
        "<think>",
        "[INST]",
        "###",
        "<b>",
        "&lt;",
        "\\n",
        '"',
        "'",
        "`",
        "%s",
        "</",
        "\u200b",
        "\ufeff",
    ),
    *("user", "assistant", "system", "\x00", "\x7f", "ZqU0qZ", "x" * 40),
)


def _text(chance: random.Random) -> str:
    if chance.random() < 0.08:
        return chance.choice(_ENDS)
    middle = " ".join(chance.choice(_WORDS) for _ in range(chance.randint(1, 5)))
    return chance.choice(_ENDS) + middle + chance.choice(_ENDS)


def _made(seed: int, count: int) -> Iterator[Conversation]:
    chance = random.Random(seed)
    for _ in range(count):
        turns = [("s", _text(chance))] if chance.random() < 0.5 else []
        for _ in range(chance.choice((0, 0, 1, 1, 2, 3, 4, 6))):
            turns += [("u", _text(chance)), ("a", _text(chance))]
        turns.append(("u", _text(chance)))
        if chance.random() < 0.35:
            turns.append(("a", _text(chance)))
        yield conversation(ODD_KIND, *turns)


@cache
def larger(seed: int = 4711, count: int = 60) -> tuple[Conversation, ...]:
    return tuple(_made(seed, count))


def first_difference(
    jinja: JinjaTemplate, template: str, *, add_bos: bool, bos: str, corpus: tuple[Conversation, ...] | None = None
) -> tuple[Reference, str] | None:
    """The first conversation of the corpus on which a TEMPLATE is not what the Jinja is, and what it renders."""
    references = [refer(jinja, one) for one in corpus or larger()]
    server = server_for(jinja, add_bos, bos)
    for one in compare(OllamaTemplate(template), references, server):
        if one.verdict == DIFFERS:
            return one.reference, one.rendered
    return None
