"""Proves a TEMPLATE against a model's Jinja, and finds the best one: curated or compiled, whatever holds.

What is proven is equality on the committed conversations, class by class, no more; see `conversations.py`. Names,
hashes and prefixes never decide.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

from conch_ollama.chat_template.candidates import default_system, texts
from conch_ollama.chat_template.capabilities import jinja_capabilities
from conch_ollama.chat_template.case import DATE, Case, references_of
from conch_ollama.chat_template.compare import References, Tokenizer, compare, server_for
from conch_ollama.chat_template.compiler.compile import compile_template
from conch_ollama.chat_template.compiler.model import NotExpressible
from conch_ollama.chat_template.conversations import ODD_KIND, PLAIN
from conch_ollama.chat_template.families import Family, families
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.judge import ALTERED_KIND, Judged, judge
from conch_ollama.chat_template.ollama_values import V0_9_3, Version
from conch_ollama.chat_template.tool_conversations import DECLARED
from conch_ollama.chat_template.turns import useful_stops
from conch_ollama.chat_template.verdicts import (
    ALTERED,
    DIFFERS,
    EQUAL,
    NOT_EXPRESSIBLE,
    REFUSED,
    ClassVerdict,
    Proof,
)
from conch_ollama.errors import BadTemplateError

#: Verdicts that no other template would better.
_BEYOND = (ALTERED, NOT_EXPRESSIBLE)
#: One of so many odd conversations is looked at in the search for the nearest template.
_SAMPLE = 9


def prove(
    jinja: JinjaTemplate,
    template: str,
    *,
    add_bos: bool,
    bos_token: str,
    family: str = "",
    name: str = "",
    version: Version = V0_9_3,
    tokenizer: Tokenizer | None = None,
    references: References | None = None,
) -> Proof:
    """Whether `template` renders what `jinja` renders, on every class of conversations.

    `add_bos`: the server puts `bos_token` in front. `family` is the GGUF's architecture and `name` the model's name in
    Ollama: by these it strips old thoughts. `tokenizer`: text -> ids, special tokens parsed, none added. `references`:
    those of `references_of(jinja)`, where they are known. Raises BadTemplateError where the Jinja refuses even a single
    question, or Ollama would refuse the TEMPLATE.
    """
    known = references or references_of(jinja)
    server = server_for(known.jinja, add_bos, bos_token, family, name)
    case = Case.of(known, server, version=version, tokenizer=tokenizer)
    return case.checked(case.judged(template).proof)


def best_template(
    jinja: JinjaTemplate,
    *,
    add_bos: bool,
    bos_token: str,
    family: str = "",
    name: str = "",
    version: Version = V0_9_3,
    tokenizer: Tokenizer | None = None,
    families: Sequence[Family] | None = None,
    references: References | None = None,
) -> Proof:
    """The best proof there is: of a curated template if one holds, else of the compiled one, proven or not.

    Not proven: `reason` says why (the date, or what can't be expressed), or the classes do. Where nothing could be
    compiled it is the nearest curated template's proof, or one without a template where there is none. Raises
    BadTemplateError where the Jinja refuses even a single question.
    """
    known = references or references_of(jinja)
    server = server_for(known.jinja, add_bos, bos_token, family, name)
    case = Case.of(known, server, version=version, tokenizer=tokenizer)
    try:
        return case.checked(_best(case, families))
    except BadTemplateError:
        case.checked(None)  # the reason of all others
        raise


def _best(case: Case, families: Sequence[Family] | None) -> Proof:
    curated, jinja = _Curated(case, families), case.jinja
    found: list[Judged] = []
    for one in curated.holding():
        found.append(one)
        if _is_perfect(one.proof, jinja):
            return one.proof
    obstacle = None
    if not any(one.proof.proven and _is_whole(one.proof) for one in found):
        made = _compiled(case)
        if isinstance(made, NotExpressible):
            obstacle = made
        else:
            found.append(made)
    if not any(one.proof.proven or one.proof.reason == DATE for one in found):
        found += curated.nearest()
    if not found:
        return Proof("", False, {}, "none", reason=obstacle.summary if obstacle else "there is no family to try")
    best = max(found, key=lambda one: _rank(one, jinja)).proof
    return best if obstacle is None or best.proven else _not_expressible(best, obstacle)


def _rank(one: Judged, jinja: JinjaTemplate) -> tuple[bool, int, int, bool]:
    """Proven, then more plain conversations, then more classes, then the capabilities of the Jinja."""
    proof = one.proof
    nearness = 0 if proof.proven else one.equal
    return proof.proven, nearness, proof.equal_classes, proof.capabilities == jinja_capabilities(jinja.source)


def _is_whole(proof: Proof) -> bool:
    """Whether there is nothing that a compiled template could do better: calls it knows only of tools declared."""
    ignored = ("adjacent", "tools called", "tools answered") if proof.classes[DECLARED].holds else ("adjacent",)
    return all(one.holds or one.verdict in _BEYOND or kind.startswith(ignored) for kind, one in proof.classes.items())


def _is_perfect(proof: Proof, jinja: JinjaTemplate) -> bool:
    """Whether there is nothing that any other template could do better."""
    offers = proof.capabilities == jinja_capabilities(jinja.source)
    return proof.proven and offers and all(one.holds or one.verdict in _BEYOND for one in proof.classes.values())


class _Curated:
    """The curated templates as candidates for one model."""

    def __init__(self, case: Case, given: Sequence[Family] | None) -> None:
        self.case = case
        self.families = given if given is not None else families()

    @cached_property
    def _candidates(self) -> list[tuple[Family, str]]:
        """The likeliest first: those that know of tools as the Jinja does."""
        tools = "tools" in jinja_capabilities(self.case.jinja.source)
        ordered = sorted(self.families, key=lambda one: (".Tools" in one.template) != tools)
        return [(one, text) for one in ordered for text in texts(one, self.case.jinja, self.case.server)]

    def holding(self) -> Iterator[Judged]:
        """Those that differ nowhere in the plain classes; a candidate is left at its first difference."""
        case = self.case
        for family, text in self._candidates:
            subject = case.subject(text)
            plain = []
            for one in compare(subject.template, case.references.plain, case.server, case.tokenizer):
                plain.append(one)
                if one.verdict == DIFFERS:
                    break
            else:
                others = compare(subject.template, case.references.others, case.server, case.tokenizer)
                yield self._named(family, judge(subject, (*plain, *others), reason=case.reason))

    def nearest(self) -> Iterator[Judged]:
        """The one that is equal on the most conversations of a sample, if there is any."""
        plain = self.case.references.plain
        odd = [one for one in plain if one.conversation.kind == ODD_KIND]
        sample = [*(one for one in plain if one.conversation.kind != ODD_KIND), *odd[::_SAMPLE]]
        best: tuple[int, Family, str] | None = None
        for family, text in self._candidates:
            template = self.case.subject(text).template
            equal = sum(one.verdict == EQUAL for one in compare(template, sample, self.case.server))
            if best is None or equal > best[0]:
                best = equal, family, text
        if best is not None:
            yield self._named(best[1], self.case.judged(best[2]))

    def _named(self, family: Family, judged: Judged) -> Judged:
        default = default_system(family, self.case.jinja, self.case.server) if family.has_slot else None
        stops = useful_stops(self.case.jinja, family.stops)
        proof = replace(judged.proof, strategy=f"curated:{family.name}", stops=stops, system_default=default)
        return replace(judged, proof=replace(proof, parameters=family.parameters))


def _compiled(case: Case) -> Judged | NotExpressible:
    """With what the Jinja does with tools, or without where only that is proven."""
    found = _compiled_as(case, tools=True)
    if isinstance(found, NotExpressible) or not found.proof.capabilities & {"tools"}:
        return found
    if all(one.holds for kind, one in found.proof.classes.items() if kind in PLAIN):  # a date may still speak against
        return found
    without = _compiled_as(case, tools=False)
    return without if isinstance(without, Judged) and without.equal > found.equal else found


def _compiled_as(case: Case, *, tools: bool) -> Judged | NotExpressible:
    made = compile_template(case.jinja, add_bos=case.server.add_bos, bos_token=case.server.bos, tools=tools)
    if isinstance(made, NotExpressible):
        return made
    try:
        judged = case.judged(made.template, "compiled")
    except BadTemplateError as err:
        return NotExpressible("what was compiled", f"it does not parse as a TEMPLATE: {err.message}")
    proof = replace(judged.proof, stops=made.stops, system_default=made.system_default, features=made.features)
    return replace(judged, proof=proof)


def _not_expressible(nearest: Proof, obstacle: NotExpressible) -> Proof:
    """The nearest curated template's proof where nothing could be compiled: each plain difference has its reason."""

    def explained(kind: str, one: ClassVerdict) -> ClassVerdict:
        if one.verdict != DIFFERS or kind not in PLAIN:
            return one
        return replace(one, verdict=NOT_EXPRESSIBLE, construct=obstacle.construct, limit=obstacle.limit)

    classes = {kind: explained(kind, one) for kind, one in nearest.classes.items()}
    reason = f"{nearest.reason}; {obstacle.summary}" if nearest.reason else obstacle.summary
    return replace(nearest, classes=classes, reason=reason)


__all__ = ["ALTERED_KIND", "DATE", "EQUAL", "REFUSED", "Proof", "best_template", "prove"]
