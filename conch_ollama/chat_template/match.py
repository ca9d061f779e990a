"""Finds the curated TEMPLATE that renders, byte for byte, what a model's own chat template renders.

Decides by the texts alone: never by names, hashes or the template's source. Nothing is compiled here: no family, no
match. Comparing is done in `compare.py`; `prove.py` looks further.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field

from conch_ollama.chat_template.candidates import default_system, texts
from conch_ollama.chat_template.capabilities import go_capabilities, is_bypassed, jinja_capabilities
from conch_ollama.chat_template.compare import Compared, Reference, References, compare, is_dated, server_for
from conch_ollama.chat_template.families import Family, families
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.ollama_render import OllamaTemplate
from conch_ollama.chat_template.ollama_values import V0_9_3, Version
from conch_ollama.chat_template.prove import warnings, who_writes
from conch_ollama.chat_template.verdicts import DIFFERS, EQUAL, ClassVerdict, Match, Mismatch, Server, diff


@dataclass
class _Trial:
    family: Family
    text: str
    template: OllamaTemplate
    passed: int = 0
    failed: Compared | None = None
    classes: dict[str, str] = field(default_factory=dict)

    def run(self, references: Sequence[Reference], server: Server, *, to_the_end: bool) -> None:
        for one in compare(self.template, references, server):
            kind = one.reference.conversation.kind
            known = ClassVerdict(self.classes.get(kind, one.verdict))
            self.classes[kind] = known.and_then(ClassVerdict(one.verdict)).verdict
            if one.verdict == DIFFERS and not to_the_end:
                self.failed = one
                break
            self.passed += 1


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
    dated = "it prints today's date, and Ollama has none to print" if is_dated(jinja) else ""
    server, references = server_for(jinja, add_bos, bos_token, family, name), References(jinja)
    trials = [
        _Trial(candidate, text, OllamaTemplate(text, version))
        for candidate in (families if families is not None else _curated())
        for text in texts(candidate, jinja, server)
    ]
    for trial in trials:
        trial.run(references.plain, server, to_the_end=False)
    fitting = [trial for trial in trials if trial.failed is None]
    if dated or not fitting:
        return _mismatch(max(trials, key=_nearness, default=None), dated)
    for trial in fitting:
        trial.run(references.others, server, to_the_end=True)
    return _matched(max(fitting, key=lambda trial: _fitness(trial, jinja)), references, server)


def _nearness(trial: _Trial) -> tuple[int, float]:
    """How many conversations were equal before the first that was not, and how alike that one is."""
    if trial.failed is None or trial.failed.reference.text is None:
        return trial.passed, 1.0
    texts = trial.failed.reference.text, trial.failed.rendered
    return trial.passed, difflib.SequenceMatcher(None, *texts, autojunk=False).ratio()


def _fitness(trial: _Trial, jinja: JinjaTemplate) -> tuple[int, bool]:
    """Among templates that are equal on the plain classes: more of the others, then the capabilities of the Jinja."""
    equal = sum(verdict == EQUAL for verdict in trial.classes.values())
    return equal, go_capabilities(trial.template) == jinja_capabilities(jinja.source)


def _curated() -> Sequence[Family]:
    return families()


def _matched(trial: _Trial, references: References, server: Server) -> Match:
    family, jinja = trial.family, references.jinja
    return Match(
        family.name,
        trial.text,
        family.stops,
        family.parameters,
        default_system(family, jinja, server) if family.has_slot else None,
        trial.classes,
        who_writes(server),
        go_capabilities(trial.template),
        is_bypassed(trial.template, jinja.source),
        warnings(server),
    )


def _mismatch(nearest: _Trial | None, reason: str) -> Mismatch:
    if nearest is None or nearest.failed is None:
        return Mismatch(nearest.family.name if nearest else None, None, "", reason)
    wanted, rendered = nearest.failed.wanted, nearest.failed.rendered
    if wanted == rendered:
        reason = reason or "the server puts the BOS in front by itself, and the TEMPLATE would write it once more"
    lines = diff(wanted, rendered, f"TEMPLATE of {nearest.family.name}")
    return Mismatch(nearest.family.name, nearest.failed.reference.conversation, lines, reason)


__all__ = ["Match", "Mismatch", "match"]
