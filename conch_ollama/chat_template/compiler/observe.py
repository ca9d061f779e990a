"""Takes marked prompts apart: opening, then lead and tail of every message, then the generation prompt.

Where a gap between two texts is cut in two does not matter for what is rendered, only for how readable the TEMPLATE is:
the cut is where the prompt ends if the conversation ends there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from conch_ollama.chat_template.compiler.counts import counted
from conch_ollama.chat_template.compiler.probe import SYSTEM_MARK, WRAPPING, Probe, Shape, parts_of, taken_apart

SHAPES = tuple((users, prefill) for users in (1, 2, 3, 4) for prefill in (False, True))


@dataclass(frozen=True)
class Observation:
    """One prompt. `leads[0]` still has the opening in it; `prompts`: the generation prompt, with thinking, without."""

    shape: Shape
    text: str
    leads: tuple[str, ...]
    tails: tuple[str, ...]
    prompts: tuple[str, str, str] | None

    def around(self, at: int) -> tuple[str, str]:
        """All that stands before and after a message's text."""
        before, _, after = self.text.partition(self.shape.mark(at))
        return before, after


def observe(probe: Probe, system: str | None) -> list[Observation]:
    """Of every shape that the template does not refuse, with this system text or none."""
    return _observe(probe, [Shape(system, users, prefill) for users, prefill in SHAPES])


def observe_unasked(probe: Probe, system: str | None) -> list[Observation]:
    """Of answers to nothing but wrapped tool results, and of those before such, if the template knows of them."""
    if WRAPPING[0].strip() not in probe.jinja.source:
        return []
    shapes = [
        Shape(system, users, True, wrapped=True, asked=asked) for users, asked in ((1, 0), (2, 0), (2, 1), (3, 2))
    ]
    return _observe(probe, shapes)


def _observe(probe: Probe, shapes: Sequence[Shape]) -> list[Observation]:
    found = []
    for shape in shapes:
        text = probe.render(shape.messages())
        if text is not None:
            found.append(_observation(probe, shape, text))
    return counted(found, probe.count) if probe.count is not None else found


def _observation(probe: Probe, shape: Shape, text: str) -> Observation:
    gaps = ["".join(gap) for gap in taken_apart(shape, text)]
    leads, tails = [gaps[0]], []
    for at in range(len(shape.roles)):
        gap = gaps[at + 1]
        end = "" if shape.prefill and at == len(shape.roles) - 1 else _end(probe, shape, at)
        tail = end if gap.startswith(end) else ""
        if at % 2 == 0 and not gap[len(tail) :].strip():  # white space before an answer may go with the answer
            tail = tail.rstrip()
        tails.append(tail)
        leads.append(gap[len(tail) :])
    prompts = None if shape.prefill else _prompts(probe, shape, text, leads.pop())
    return Observation(shape, text, tuple(leads[: len(shape.roles)]), tuple(tails), prompts)


def _end(probe: Probe, shape: Shape, at: int) -> str:
    """What follows a message's text where it is the last and no answer is asked for."""
    extra = 0 if shape.system is None else 1
    text = probe.render(shape.messages()[: at + 1 + extra], generate=False)
    return text.rpartition(shape.mark(at))[2] if text is not None and shape.mark(at) in text else ""


def _prompts(probe: Probe, shape: Shape, text: str, prompt: str) -> tuple[str, str, str]:
    before = text[: len(text) - len(prompt)]
    found = [prompt]
    for think in (True, False):
        other = probe.render(shape.messages(), think=think)
        same = other is not None and other.startswith(before) and SYSTEM_MARK not in other[len(before) :]
        found.append(other[len(before) :] if same and other is not None else prompt)
    return found[0], found[1], found[2]


def opening_of(observations: Sequence[Observation]) -> str:
    """What stands before the lead of the first message, if that is led as a later one is and it is always the same."""
    later = {
        one.leads[at]
        for one in observations
        for at in range(2, len(one.shape.roles), 2)
        if SYSTEM_MARK not in one.leads[at]
    }
    openings = set()
    for one in observations:
        fits = [lead for lead in later if lead and one.leads[0].endswith(lead)]
        openings.add(one.leads[0][: -len(max(fits, key=len))] if fits else "")
    return openings.pop() if len(openings) == 1 else ""


__all__ = ["SHAPES", "Observation", "observe", "opening_of", "parts_of"]
