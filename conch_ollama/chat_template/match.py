"""Finds the curated TEMPLATE that renders, byte for byte, what a model's own chat template renders.

Decides by the texts alone: never by names, hashes or the template's source. The reference is transformers' rendering
(`jinja.py`), the other side Ollama's (`ollama_render.py`); a class of conversations holds if each is equal or refused
by the Jinja itself. Nothing is compiled here: no family, no match.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from conch_ollama.chat_template.capabilities import go_capabilities, is_bypassed, jinja_capabilities
from conch_ollama.chat_template.conversations import CONVERSATIONS, ODD_KIND, PLAIN, Conversation
from conch_ollama.chat_template.families import Family, families, go_string
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.ollama_render import OllamaTemplate, check_truncations, prepare
from conch_ollama.chat_template.ollama_values import V0_9_3, Version
from conch_ollama.chat_template.verdicts import ALTERED, DIFFERS, EQUAL, REFUSED, Match, Mismatch
from conch_ollama.errors import BadTemplateError


@dataclass(frozen=True)
class _Reference:
    conversation: Conversation
    text: str | None  # None: the Jinja refuses the conversation


@dataclass(frozen=True)
class _Server:
    """What the server adds and strips."""

    add_bos: bool
    bos: str
    family: str
    name: str


@dataclass
class _Trial:
    family: Family
    text: str
    template: OllamaTemplate
    passed: int = 0
    failed: _Reference | None = None
    rendered: str = ""
    classes: dict[str, str] = field(default_factory=dict)


def match(
    jinja: JinjaTemplate,
    *,
    families: Sequence[Family] | None = None,
    add_bos: bool,
    bos_token: str,
    family: str = "",
    name: str = "",
    version: Version = V0_9_3,
) -> Match | Mismatch:
    """The family that is equal on every plain class and the most others, or the nearest one and where it differs.

    `add_bos` is the GGUF's effective setting: whether the server puts `bos_token` in front. `family` is the GGUF's
    architecture and `name` the model's name in Ollama, by which 0.9 strips old thoughts. Raises BadTemplateError where
    the Jinja refuses even a single question.
    """
    dated = _date_reason(jinja)
    server = _Server(add_bos, bos_token, family, name)
    plain = [_refer(jinja, one) for one in CONVERSATIONS if one.kind in PLAIN]
    trials = [
        _try(candidate, text, plain, server, version)
        for candidate in (families if families is not None else _curated())
        for text in _texts(candidate, jinja, server)
    ]
    fitting = [trial for trial in trials if trial.failed is None]
    if dated or not fitting:
        return _mismatch(max(trials, key=_nearness, default=None), dated)
    for trial in fitting:
        _try_others(trial, jinja, server)
    return _matched(max(fitting, key=lambda trial: _fitness(trial, jinja)), jinja, plain, server)


def _nearness(trial: _Trial) -> tuple[int, float]:
    """How many conversations were equal before the first that was not, and how alike that one is."""
    if trial.failed is None or trial.failed.text is None:
        return trial.passed, 1.0
    return trial.passed, difflib.SequenceMatcher(None, trial.failed.text, trial.rendered, autojunk=False).ratio()


def _fitness(trial: _Trial, jinja: JinjaTemplate) -> tuple[int, bool]:
    """Among templates that are equal on the plain classes: more of the others, then the capabilities of the Jinja."""
    equal = sum(verdict == EQUAL for verdict in trial.classes.values())
    return equal, go_capabilities(trial.template) == jinja_capabilities(jinja.source)


def _try_others(trial: _Trial, jinja: JinjaTemplate, server: _Server) -> None:
    for one in CONVERSATIONS:
        if one.kind not in PLAIN:
            verdict, _ = _verdict(trial.template, _refer(jinja, one), server)
            trial.classes[one.kind] = _together(trial.classes.get(one.kind), verdict)


def _curated() -> Sequence[Family]:
    return families()


def _date_reason(jinja: JinjaTemplate) -> str:
    """Whether the prompt depends on today's date, which no TEMPLATE of Ollama 0.9 can say."""
    question = [{"role": "user", "content": "Hi"}]
    days = [jinja.at(datetime(year, 2, 3, 4, 5, 6)).render(question) for year in (2001, 2002)]
    return "it prints today's date, and Ollama has none to print" if days[0] != days[1] else ""


def _refer(jinja: JinjaTemplate, one: Conversation) -> _Reference:
    options: dict[str, Any] = {} if one.think is None else {"enable_thinking": one.think}
    try:
        text = jinja.render(one.messages, continue_final_message=one.is_prefill, tools=one.tools, **options)
    except BadTemplateError:
        return _Reference(one, None)
    return _Reference(one, text)


def _texts(family: Family, jinja: JinjaTemplate, server: _Server) -> Iterable[str]:
    """The family's template for this model: with the Jinja's own default system text, with a literal BOS if need be."""
    text = family.text(_default_system(family, jinja, server) if family.has_slot else None)
    question = jinja.render([{"role": "user", "content": "Hi"}])
    yield text
    if server.bos and not server.add_bos and question.startswith(server.bos):
        yield (server.bos if "{{" not in server.bos else "{{ " + go_string(server.bos) + " }}") + text


def _default_system(family: Family, jinja: JinjaTemplate, server: _Server) -> str | None:
    """What stands in the Jinja's prompt where the family has its default system text."""
    mark = "\u2402default\u2403"
    question = [{"role": "user", "content": "Hi"}]
    before, _, after = OllamaTemplate(family.text(mark)).execute(question, None, None).partition(mark)
    text = _without_bos(jinja.render(question), server)
    before = before.removeprefix(server.bos) if server.add_bos else before
    if len(text) >= len(before + after) and text.startswith(before) and text.endswith(after):
        return text[len(before) : len(text) - len(after)]
    return None


def _without_bos(text: str, server: _Server) -> str:
    """What the TEMPLATE has to render: the server puts the BOS in front by itself."""
    return text.removeprefix(server.bos) if server.add_bos and server.bos else text


def _try(family: Family, text: str, references: Sequence[_Reference], server: _Server, version: Version) -> _Trial:
    trial = _Trial(family, text, OllamaTemplate(text, version))
    for reference in references:
        verdict, rendered = _verdict(trial.template, reference, server)
        kind = reference.conversation.kind
        if verdict == DIFFERS:
            trial.failed, trial.rendered = reference, rendered
            trial.classes[kind] = DIFFERS
            break
        trial.passed += 1
        trial.classes[kind] = _together(trial.classes.get(kind), verdict)
    return trial


def _together(known: str | None, verdict: str) -> str:
    """The verdict on a class: the worst of its conversations, but refusals count only if there is nothing else."""
    order = (REFUSED, EQUAL, ALTERED, DIFFERS)
    return verdict if known is None else max(known, verdict, key=order.index)


def _verdict(template: OllamaTemplate, reference: _Reference, server: _Server) -> tuple[str, str]:
    one = reference.conversation
    if reference.text is None:
        return REFUSED, ""
    ready = prepare(one.messages, system=None, family=server.family, name=server.name)
    try:
        rendered = template.execute(one.messages, one.tools, one.think)
        if one.kind != ODD_KIND:  # which errors there are depends on the roles, not on the texts
            check_truncations(template, one.messages)
        served = rendered if ready == list(one.messages) else template.execute(ready, one.tools, one.think)
    except BadTemplateError as err:
        return DIFFERS, f"[{err.message}]"
    if rendered != _without_bos(reference.text, server):
        return DIFFERS, rendered
    return (EQUAL if served == rendered else ALTERED), rendered


def _matched(trial: _Trial, jinja: JinjaTemplate, plain: Sequence[_Reference], server: _Server) -> Match:
    writes = bool(server.bos) and any((one.text or "").startswith(server.bos) for one in plain)
    warnings = []
    if server.add_bos and server.bos and not writes:
        warnings.append(f"the server puts {server.bos} in front, which the model's chat template does not")
    bos = "added by the server" if server.add_bos and server.bos else "written by the TEMPLATE" if writes else "none"
    family = trial.family
    default = _default_system(family, jinja, server) if family.has_slot else None
    return Match(
        family.name,
        trial.text,
        family.stops,
        family.parameters,
        default,
        trial.classes,
        bos,
        go_capabilities(trial.template),
        is_bypassed(trial.template, jinja.source),
        tuple(warnings),
    )


def _mismatch(nearest: _Trial | None, reason: str) -> Mismatch:
    if nearest is None or nearest.failed is None:
        return Mismatch(nearest.family.name if nearest else None, None, "", reason)
    if nearest.failed.text == nearest.rendered:
        reason = reason or "the server puts the BOS in front by itself, and the TEMPLATE would write it once more"
    lines = difflib.unified_diff(
        (nearest.failed.text or "").splitlines(keepends=True),
        nearest.rendered.splitlines(keepends=True),
        "the model's chat template",
        f"TEMPLATE of {nearest.family.name}",
    )
    diff = "".join(line if line.endswith("\n") else line + "\n\\ no line feed at the end\n" for line in lines)
    return Mismatch(nearest.family.name, nearest.failed.conversation, diff, reason)


__all__ = ["Match", "Mismatch", "match"]
