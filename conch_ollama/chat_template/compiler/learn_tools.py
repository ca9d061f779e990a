"""How a template shows tools: the list of them, an answer that calls some, the results.

Learnt from marked tools and calls, as `learn.py` learns the rest. Only tools and arguments that are printed as JSON are
understood; ids of calls are left out, since Ollama before 0.12.10 has none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from conch_ollama.chat_template.compiler.learn_system import TEXTS, between
from conch_ollama.chat_template.compiler.model import Calls, NotExpressibleError, Results
from conch_ollama.chat_template.compiler.probe import Probe
from conch_ollama.chat_template.compiler.tool_lists import PROBED_TOOLS, are_shown, beyond
from conch_ollama.chat_template.compiler.trims import IDENTITY, fitting

_ID = "zq1234567"
_WITH_ID = re.compile(r',\s*"\w*id":\s*"' + _ID + '"')
_NAMES, _KEYS, _VALUES = ("ZqN0qZ", "ZqN1qZ"), ("ZqK0qZ", "ZqK1qZ"), ("ZqV0qZ", "ZqV1qZ")
_ASKED, _SPOKEN, _RESULT, _SECOND = "ZqU0qZ", "ZqA0qZ", "ZqR0qZ", "ZqR1qZ"
Json = Mapping[str, Any]


@dataclass(frozen=True)
class _Region:
    """An answer with calls: what stands before a name, between name and arguments, between two calls, behind them."""

    before: str
    middle: str
    separator: str | None
    after: str


class ToolLearner:
    """`probe` declares PROBED_TOOLS; `tail`: what follows the question, `lead`: what an answer begins with, `prompt`:
    the generation prompt."""

    def __init__(self, probe: Probe, tail: str, lead: str, prompt: str) -> None:
        self.probe, self.tail, self.lead, self.prompt = probe, tail, lead, prompt
        self.with_ids = False
        self.with_ids = self._render([self._calls(1), self._result()]) is None

    def learn(self) -> tuple[Calls, Results]:
        """Raises NotExpressibleError."""
        one = self._region([self._calls(1), self._result()], 1)
        two = self._region([self._calls(2), self._result()], 2)
        if (
            two is not None
            and one is not None
            and (two.before, two.middle, two.after)
            != (
                one.before,
                one.middle,
                one.after,
            )
        ):
            raise beyond("calls that are printed by how many there are")
        if one is None:
            raise beyond("calls of tools that the template refuses")
        alone = self._render([self._calls(1)], generate=False) or ""
        end = self._after_arguments(alone)
        end = end if one.after.startswith(end) else ""
        calls = self._factored(one, two.separator if two is not None else None, end)
        return calls, _results(
            self._render, self._result, [self._calls(1)], [self._calls(2)], one.after[len(end) :], self.prompt
        )

    # -- calls

    def _factored(self, one: _Region, separator: str | None, end: str) -> Calls:
        """The same text, cut so that the part which every call begins with stands by itself."""
        spoken = self._spoken(one)
        common = _common_prefix(one.before, self.lead)
        ends = [one.before if separator is not None else one.before[len(common) :]]
        ends += [separator] if separator is not None else []
        ends += [spoken[1]] if spoken is not None else []
        before = _common_suffix(ends)
        rest = separator[: len(separator) - len(before)] if separator is not None else ""
        if separator is None:  # one call at a time: each closes what it opens
            opened = before + one.middle
            rest = "}" * (opened.count("{") - opened.count("}"))
        after = _common_prefix(rest, end)
        lead = one.before[: len(one.before) - len(before)]
        opening = lead[len(_common_prefix(lead, self.lead)) :]
        if spoken is not None:
            between = spoken[1][: len(spoken[1]) - len(before)]
            opening = _common_suffix([opening, between])
            spoken = spoken[0], between[: len(between) - len(opening)]
        return Calls(
            lead=lead[: len(lead) - len(opening)],
            spoken=spoken,
            opening=opening,
            before=before,
            middle=one.middle,
            after=after,
            separator=rest[len(after) :] if separator is not None else "",
            tail=end[len(after) :],
        )

    def _spoken(self, one: _Region) -> tuple[str, str] | None:
        """What stands around a text that comes with calls; None where it is dropped."""
        found = self._region([self._calls(1, _SPOKEN), self._result()], 1)
        if found is None or found == one:
            return None
        lead, mark, between = found.before.partition(_SPOKEN)
        if not mark or _SPOKEN in between or (found.middle, found.after) != (one.middle, one.after):
            raise beyond("a text that comes with calls of tools")
        return lead, between

    def _region(self, turns: Sequence[Json], count: int) -> _Region | None:
        text = self._render(turns)
        if text is None:
            return None
        region = text.partition(_ASKED)[2].partition(_RESULT)[0]
        if not region.startswith(self.tail) or text.count(_RESULT) != 1:
            raise beyond("what stands before a call of tools")
        region = region[len(self.tail) :]
        parts: list[str] = []
        for number in range(count):
            before, mark, rest = region.partition(_NAMES[number])
            start, stop = _arguments(rest, number)
            if not mark or stop < 0:
                raise beyond("calls of tools that are not printed as JSON")
            parts += [before, rest[:start]]
            region = rest[stop:]
        if count == 2 and parts[1] != parts[3]:
            raise beyond("calls that are printed by how many there are")
        if any(mark in part for part in (*parts, region) for mark in (*_NAMES, *_KEYS, *_VALUES)):
            raise beyond("calls of tools that are printed twice")
        return _Region(parts[0], parts[1], parts[2] if count == 2 else None, region)

    def _after_arguments(self, text: str) -> str:
        rest = text.partition(_NAMES[0])[2]
        return rest[_arguments(rest, 0)[1] :]

    # -- conversations

    def _render(self, turns: Sequence[Json], *, generate: bool = True) -> str | None:
        text = self.probe.render([{"role": "user", "content": _ASKED}, *turns], generate=generate)
        if text is None:
            return None
        text = _WITH_ID.sub("", text)
        if _ID in text:
            raise NotExpressibleError("ids of tool calls", "Ollama before 0.12.10 has none")
        return text

    def _calls(self, count: int, content: str = "") -> Json:
        calls = [
            {
                "type": "function",
                "function": {"name": _NAMES[number], "arguments": {_KEYS[number]: _VALUES[number]}},
                **({"id": _ID} if self.with_ids else {}),
            }
            for number in range(count)
        ]
        return {"role": "assistant", "content": content, "tool_calls": calls}

    def _result(self, text: str = _RESULT) -> Json:
        ids = {"tool_call_id": _ID} if self.with_ids else {}
        return {"role": "tool", "content": text, **ids}


def _results(
    render: Callable[..., str | None],
    result: Callable[[str], Json],
    before: list[Json],
    before_two: list[Json],
    lead: str,
    prompt: str,
) -> Results:
    """`before`: what comes before one result, `before_two`: before two of them; `lead`: what stands before the text."""
    head, _, rest = (render([*before, result(_RESULT)]) or "").partition(_RESULT)
    prompted = rest.endswith(prompt)
    tail = rest[: len(rest) - len(prompt)] if prompted else rest

    def said(text: str) -> str | None:
        return between(render([*before, result(text)]), head, rest)

    odd = 'a "b"\n海螺'
    if (lead[-1:], tail[:1]) == ('"', '"') and said(odd) == json.dumps(odd, ensure_ascii=False)[1:-1]:
        return Results(lead[:-1], IDENTITY, tail[1:], quoted=True, prompted=prompted)
    trim = fitting(TEXTS, lambda trim, text: said(text) in (None, trim(text)))
    if trim is None:
        raise beyond("a change to a tool's result")
    two = render([*before_two, result(_RESULT), result(_SECOND)]) or ""
    gap, mark, _ = two.partition(_RESULT)[2].partition(_SECOND)
    return Results(lead, trim, tail, prompted=prompted, between=gap if mark and gap != tail + lead else None)


def results_alone(probe: Probe, tail: str, prompt: str) -> Results | None:
    """Of a template that shows no tools; None where it refuses or changes a result, or drops it and no more.

    `tail`: of an answer; `prompt`: the generation prompt."""

    def render(turns: Sequence[Json], *, generate: bool = True) -> str | None:
        asked = [{"role": "user", "content": _ASKED}, {"role": "assistant", "content": _SPOKEN}]
        return probe.render([*asked, *turns], generate=generate)

    def result(text: str) -> Json:
        return {"role": "tool", "content": text}

    gap, mark, _ = (render([result(_RESULT)]) or "").partition(_SPOKEN)[2].partition(_RESULT)
    if not mark:
        return Results("", IDENTITY, "", dropped=True, prompted=False) if gap == tail and prompt else None
    if not gap.startswith(tail):
        return None
    try:
        return _results(render, result, [], [], gap[len(tail) :], prompt)
    except NotExpressibleError:
        return None


def _arguments(text: str, number: int) -> tuple[int, int]:
    """Where the call's arguments begin and end as a JSON object; -1 where they don't."""
    start = text.rfind("{", 0, max(text.find(_KEYS[number]), 0))
    if start < 0:
        return 0, -1
    try:
        value, stop = json.JSONDecoder().raw_decode(text, start)
    except ValueError:
        return 0, -1
    return (start, stop) if value == {_KEYS[number]: _VALUES[number]} else (0, -1)


def _common_prefix(first: str, second: str) -> str:
    size = next((at for at, pair in enumerate(zip(first, second, strict=False)) if pair[0] != pair[1]), None)
    return first[: min(len(first), len(second)) if size is None else size]


def _common_suffix(texts: Sequence[str]) -> str:
    return reduce(lambda first, second: _common_prefix(first[::-1], second[::-1])[::-1], texts)


__all__ = ["PROBED_TOOLS", "ToolLearner", "are_shown", "results_alone"]
