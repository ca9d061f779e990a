"""Compiles a Jinja chat template to a Go TEMPLATE for Ollama: probe, learn, write.

The result is a guess: `prove.py` says whether it holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from conch_ollama.chat_template.capabilities import jinja_capabilities
from conch_ollama.chat_template.compiler.emit import emit
from conch_ollama.chat_template.compiler.learn import learn
from conch_ollama.chat_template.compiler.model import Compiled, Model, NotExpressible, NotExpressibleError
from conch_ollama.chat_template.compiler.probe import Probe
from conch_ollama.chat_template.compiler.trees import Leaf, leaves
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.turns import last_end, useful_stops

_SPECIAL = re.compile(r"<[|｜/]?[^<>\s]+[|｜]?>|\[/?[A-Z_]+\]")


def compile_template(
    jinja: JinjaTemplate, *, add_bos: bool, bos_token: str, tools: bool = True
) -> Compiled | NotExpressible:
    """A TEMPLATE for `jinja`, or what stands in the way of one.

    `add_bos`: the server puts `bos_token` in front, so the TEMPLATE leaves it out. `tools`: with what the Jinja does
    with tools, as far as that can be learnt. A date is written as it
    is now: stop the clock with `jinja.at` first. Raises BadTemplateError where the Jinja refuses one question.
    """
    try:
        model = learn(Probe(jinja, add_bos=add_bos, bos_token=bos_token), tools=tools)
    except NotExpressibleError as err:
        return err.found
    return Compiled(
        emit(model, thinking="thinking" in jinja_capabilities(jinja.source)),
        tuple(dict.fromkeys(_stops(jinja, model))),
        model.default_system,
        _features(model),
    )


def _stops(jinja: JinjaTemplate, model: Model) -> Iterator[str]:
    """The EOS, then what ends an answer and begins a question; the end of the last answer where that ends no turn."""
    yield from [jinja.eos_token] if jinja.eos_token else []
    ends = _marks(model.between_turns)
    useful = useful_stops(jinja, ends)
    yield from useful if useful or not ends else _marks(last_end(jinja))[:1]


def _marks(text: str) -> list[str]:
    """Two special tokens if there are any, else the first line."""
    return _SPECIAL.findall(text)[:2] or [line.strip() for line in text.strip().splitlines()[:1]]


def _features(model: Model) -> dict[str, str]:
    found = {
        "user": _trims(model, "user"),
        "generation prompt": " | ".join(repr("".join(map(str, prompt.default))) for _, prompt in leaves(model.prompt)),
    }
    if model.assistant is not None:
        found["assistant"] = _trims(model, "assistant")
    systems = model.systems
    if systems.refused:
        found["system"] = "refused"
    else:
        inside = not isinstance(model.user.lead, Leaf) and any(
            step[0] == "system" for path, _ in leaves(model.user.lead) for step in path
        )
        place = "inside a question" if inside else "a turn of its own" if model.opening != Leaf(()) else "ignored"
        found["system"] = f"{place}; {systems.trim.words}; empty is {systems.empty}, blank is {systems.blank}"
    if model.default_system is not None:
        found["default system"] = model.default_system
    if model.calls is not None:
        found["tools"] = "declared, called and answered"
    elif model.beyond is not None:
        found["tools"] = f"not compiled: {model.beyond.summary}"
    return found


def _trims(model: Model, role: str) -> str:
    turn = model.user if role == "user" else model.assistant
    return " | ".join(dict.fromkeys(trim.words for _, trim in leaves(turn.trim))) if turn is not None else ""
