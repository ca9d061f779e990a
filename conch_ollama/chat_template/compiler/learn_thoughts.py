"""How a template tells a thought that stands in an answer's own text: taken out, stripped, put between markers anew.

Only what is done to a text that holds the end of a thought; any other text is as `learn.py` finds it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

from conch_ollama.chat_template.compiler.learn_system import between
from conch_ollama.chat_template.compiler.model import Thought
from conch_ollama.chat_template.compiler.trims import END_OF_THOUGHT, IDENTITY, SPACE, START_OF_THOUGHT, Cut, Trim

_THOUGHT, _ANSWER = "ZqT0qZ", "ZqT1qZ"
#: transformers continues only an answer that comes back as it was, so each way of writing thoughts is tried.
_WRITTEN = tuple(
    f"{start}{_THOUGHT}{gap}{END_OF_THOUGHT}{behind}{_ANSWER}"
    for start, gap, behind in product((f"{START_OF_THOUGHT}\n", START_OF_THOUGHT, ""), ("\n", ""), ("\n\n", "\n", ""))
)
_BEFORE = (
    "a",
    "\na\n",
    f"{START_OF_THOUGHT}\n\n a \n\n",
    f"x{START_OF_THOUGHT} a",
    f"{START_OF_THOUGHT}a",
    "",
    "\n",
    " ",
)
_BEHIND = ("b", "\n\nb", "\n\n b \n", " b", "\nb", "")
_ENDS = (("\n", "\n"), (SPACE, SPACE), ("", ""), ("\n", ""), (SPACE, ""))


def learn_thought(
    render: Callable[[str], str | None], before: str, after: str, usual: tuple[str, str], trim: Trim
) -> Thought | None:
    """What becomes of a thought in a text that is printed between `before`, whose end is the `usual` lead, and `after`,
    which begins with the usual tail; None if that is not learnt. `trim`: of texts without a
    thought; it is done either to the whole text, before, or to the answer alone."""
    head, rest = before[: len(before) - len(usual[0])], after[len(usual[1]) :]
    found = next((told for told in (_told(between(render(text), head, rest)) for text in _WRITTEN) if told), None)
    if found is None or found[2] != usual[1]:
        return None
    texts = [f"{one}{END_OF_THOUGHT}{two}" for one, two in product(_BEFORE, _BEHIND)]
    seen = {text: render(text) for text in (*texts, f"a{END_OF_THOUGHT}b{END_OF_THOUGHT}c")}
    lead, middle, _ = found
    for whole, (inner_left, inner_right), ends, (left, right) in product(
        dict.fromkeys((IDENTITY, trim)), _ENDS, ("", SPACE), _ENDS
    ):
        then = trim if whole.is_identity else IDENTITY
        for first, alone in product((False, True), dict.fromkeys((middle, middle.rstrip()))):
            cut = Cut(END_OF_THOUGHT, first, "", left, right)
            one = Thought(whole, Trim(inner_left, inner_right, Cut(START_OF_THOUGHT)), ends, cut, lead, middle, alone)
            if all(told in (None, head + one(text, usual[0], then) + after) for text, told in seen.items()):
                return one
    return None


def _told(text: str | None) -> tuple[str, str, str] | None:
    """Lead, middle, tail."""
    lead, thought, rest = (text or "").partition(_THOUGHT)
    middle, answer, tail = rest.partition(_ANSWER)
    return (lead, middle, tail) if thought and answer else None
