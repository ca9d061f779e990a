"""Proves a TEMPLATE against a model's Jinja, and finds the best one: curated or compiled, whatever holds.

What is proven is equality on the committed conversations, class by class, no more; see `conversations.py`. Names,
hashes and prefixes never decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from conch_ollama.chat_template.candidates import default_system, texts
from conch_ollama.chat_template.capabilities import go_capabilities, is_bypassed, jinja_capabilities
from conch_ollama.chat_template.compare import References, Tokenizer, compare, is_dated, server_for
from conch_ollama.chat_template.compiler.compile import compile_template
from conch_ollama.chat_template.compiler.model import NotExpressible
from conch_ollama.chat_template.conversations import PLAIN, Conversation
from conch_ollama.chat_template.families import Family, families
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.ollama_render import OllamaTemplate
from conch_ollama.chat_template.ollama_values import V0_9_3, Version
from conch_ollama.chat_template.verdicts import (
    ALTERED,
    DIFFERS,
    EQUAL,
    REFUSED,
    ClassVerdict,
    Proof,
    Server,
    diff,
)
from conch_ollama.errors import BadTemplateError

ALTERED_KIND = "blank or thoughtful old answers"
DATE = "date"


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
) -> Proof:
    """Whether `template` renders what `jinja` renders, on every class of conversations.

    `add_bos`: the server puts `bos_token` in front. `family` is the GGUF's architecture and `name` the model's name in
    Ollama: by these it strips old thoughts. `tokenizer`: text -> ids, special tokens parsed, none added. Raises
    BadTemplateError where the Jinja refuses even a single question, or Ollama would refuse the TEMPLATE.
    """
    dated = is_dated(jinja)
    frozen = jinja.at(datetime.now()) if dated else jinja
    server = server_for(frozen, add_bos, bos_token, family, name)
    return _prove(References(frozen), OllamaTemplate(template, version), server, tokenizer, DATE if dated else "")


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
) -> Proof:
    """The best proof there is: of a curated template if one holds, else of the compiled one, proven or not.

    Not proven: `reason` says why (the date, or what can't be expressed), or the classes do. Raises BadTemplateError
    where the Jinja refuses even a single question.
    """
    dated = is_dated(jinja)
    frozen = jinja.at(datetime.now()) if dated else jinja
    references, server = References(frozen), server_for(frozen, add_bos, bos_token, family, name)
    reason = DATE if dated else ""
    found = _curated(references, server, version, tokenizer, reason, families)
    if not any(proof.proven and _is_whole(proof) for proof in found):
        found.append(_compiled(references, server, version, tokenizer, reason))
    return max(found, key=lambda proof: (proof.proven, proof.equal_classes, _offers(proof, jinja)))


def _is_whole(proof: Proof) -> bool:
    """Whether there is nothing that a compiled template could do better: of tools it knows nothing."""
    return all(one.holds or kind.startswith(("tools", "adjacent")) for kind, one in proof.classes.items())


def _offers(proof: Proof, jinja: JinjaTemplate) -> bool:
    return proof.capabilities == jinja_capabilities(jinja.source)


def _curated(
    references: References,
    server: Server,
    version: Version,
    tokenizer: Tokenizer | None,
    reason: str,
    given: Sequence[Family] | None,
) -> list[Proof]:
    """Proofs of the curated templates that differ nowhere in the plain classes."""
    found = []
    for family in given if given is not None else families():
        for text in texts(family, references.jinja, server):
            template = OllamaTemplate(text, version)
            if all(one.verdict != DIFFERS for one in compare(template, references.plain, server, tokenizer)):
                proof = _prove(references, template, server, tokenizer, reason)
                default = default_system(family, references.jinja, server) if family.has_slot else None
                proof = replace(proof, strategy=f"curated:{family.name}", stops=family.stops, system_default=default)
                found.append(replace(proof, parameters=family.parameters))
    return found


def _compiled(
    references: References, server: Server, version: Version, tokenizer: Tokenizer | None, reason: str
) -> Proof:
    made = compile_template(references.jinja, add_bos=server.add_bos, bos_token=server.bos)
    if isinstance(made, NotExpressible):
        return Proof("", False, {}, "compiled", reason=f"{DATE}; {made.summary}" if reason else made.summary)
    try:
        template = OllamaTemplate(made.template, version)
    except BadTemplateError as err:
        return Proof("", False, {}, "compiled", reason=f"the compiled TEMPLATE does not parse: {err.message}")
    proof = _prove(references, template, server, tokenizer, reason)
    proof = replace(proof, strategy="compiled", stops=made.stops, system_default=made.system_default)
    return replace(proof, features=made.features)


def _prove(
    references: References, template: OllamaTemplate, server: Server, tokenizer: Tokenizer | None, reason: str
) -> Proof:
    classes: dict[str, ClassVerdict] = {}
    altered: list[Conversation] = []
    for one in compare(template, (*references.plain, *references.others), server, tokenizer):
        kind = one.reference.conversation.kind
        if one.verdict == ALTERED:
            altered.append(one.reference.conversation)
            kind = ALTERED_KIND
        verdict = ClassVerdict(one.verdict)
        if one.verdict == DIFFERS:
            known = classes.get(kind)
            lines = "" if known and known.verdict == DIFFERS else diff(one.wanted, one.rendered, "TEMPLATE")
            verdict = ClassVerdict(DIFFERS, one.reference.conversation, lines)
        elif one.verdict == ALTERED:
            verdict = ClassVerdict(ALTERED, one.reference.conversation)
        classes[kind] = classes[kind].and_then(verdict) if kind in classes else verdict
    proven = not reason and all(kind in classes and classes[kind].holds for kind in PLAIN)
    return Proof(
        template=template.template.source,
        proven=proven,
        classes=classes,
        reason=reason,
        altered=tuple(altered),
        bos=who_writes(server),
        capabilities=go_capabilities(template),
        bypassed=is_bypassed(template, references.jinja.source),
        warnings=warnings(server),
    )


def who_writes(server: Server) -> str:
    """Who puts the BOS in front."""
    if server.add_bos and server.bos:
        return "added by the server"
    return "written by the TEMPLATE" if server.bos_is_written else "none"


def warnings(server: Server) -> tuple[str, ...]:
    if server.add_bos and server.bos and not server.bos_is_written:
        return (f"the server puts {server.bos} in front, which the model's chat template does not",)
    return ()


__all__ = ["ALTERED_KIND", "DATE", "EQUAL", "REFUSED", "Proof", "best_template", "prove"]
