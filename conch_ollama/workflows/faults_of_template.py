"""Faults of a model's TEMPLATE: wrong, passed over by the server, a BOS too many, none at all. Asks no server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from conch_ollama.chat_template.capabilities import is_bypassed
from conch_ollama.chat_template.ollama_render import OllamaTemplate
from conch_ollama.chat_template.verdicts import Proof
from conch_ollama.errors import BadTemplateError
from conch_ollama.ollama.versions import OLDEST_WITH_NATIVE, is_native, version_numbers
from conch_ollama.workflows.chat_format import ChatFormat
from conch_ollama.workflows.patient import (
    BYPASSED,
    DOUBLE_BOS,
    NO_CHAT_TEMPLATE,
    NO_TEMPLATE,
    WRONG_TEMPLATE,
    Finding,
    Notes,
    Patient,
)
from conch_ollama.workflows.proofs import first_difference
from conch_ollama.workflows.template import prove_given

_QUESTION = ({"role": "user", "content": "Hi"},)


def parse_template(patient: Patient, notes: Notes) -> OllamaTemplate | None:
    """The model's TEMPLATE; None, with a note, where it does not parse."""
    try:
        return OllamaTemplate(patient.template, patient.proof_version)
    except BadTemplateError as err:
        notes.add(f"the TEMPLATE can't be read here: {err.message}")
        return None


def template_faults(patient: Patient, parsed: OllamaTemplate | None, notes: Notes) -> Iterator[Finding]:
    """What is wrong with the TEMPLATE, one by one."""
    renderer = patient.info.engine.get("renderer") or patient.info.engine.get("parser")
    if renderer:
        notes.add(f"prompts are made by Ollama's built-in {renderer}, which is not checked here")
        return
    if patient.is_without_template:
        notes.add(f"there is no TEMPLATE: Ollama {patient.version} renders the GGUF's own chat template")
        return
    if patient.facts.jinja is None and patient.facts.seen_whole:
        yield from _nothing_at_all(patient)
    if parsed is None:
        return
    doubled = writes_bos(patient, parsed)
    if doubled:
        yield Finding(
            DOUBLE_BOS,
            f"TEMPLATE writes {patient.facts.bos!r}, and the server puts it in front as well (add_bos_token)",
            "take it out of TEMPLATE: the server adds it",
            patient.facts.bos,
        )
    chat = patient.facts.chat
    if chat is None:
        notes.add(f"TEMPLATE can't be proven: {patient.facts.fault}")
        return
    try:
        proof = proof_of(patient, chat, doubled=doubled)
    except BadTemplateError as err:
        notes.add(f"TEMPLATE can't be proven: {err.message}")
        return
    yield from _unequal(patient, proof)
    bypassed = is_native(patient.version) and (patient.renders_jinja or is_bypassed(parsed, chat.source))
    if bypassed and proof.proven:
        notes.add(f"Ollama {patient.version} renders the GGUF's own chat template; TEMPLATE is proven to say the same")
    elif bypassed:
        yield Finding(
            BYPASSED,
            f"Ollama {patient.version} passes over this TEMPLATE: the GGUF's own chat template offers more than it "
            "(tools, thinking), and is rendered instead",
            "give a TEMPLATE that is proven and has them, or none; OLLAMA_GO_TEMPLATE=1 makes the server obey it",
        )


def proof_of(patient: Patient, chat: ChatFormat, *, doubled: bool) -> Proof:
    """TEMPLATE against the GGUF's Jinja; a BOS that is written twice is a fault of its own, and no difference here."""
    template = patient.template
    if doubled:
        writes = chat.jinja.render(_QUESTION).startswith(chat.bos_token)
        template = template if writes else template.replace(chat.bos_token, "", 1)
        chat = replace(chat, add_bos=not writes)
    return prove_given(chat, template, patient.name, version=patient.proof_version).proof


def writes_bos(patient: Patient, parsed: OllamaTemplate) -> bool:
    """Whether a prompt gets two BOS. Newer servers take `<bos>`, and that alone, off what a TEMPLATE writes."""
    bos = patient.facts.bos
    if not (patient.facts.add_bos and bos) or (
        bos == "<bos>" and version_numbers(patient.version) >= OLDEST_WITH_NATIVE
    ):
        return False
    try:
        return parsed.execute(_QUESTION, None, None).startswith(bos)
    except BadTemplateError:
        return False


def _nothing_at_all(patient: Patient) -> Iterator[Finding]:
    if patient.template.strip() == NO_TEMPLATE:
        yield Finding(
            NO_CHAT_TEMPLATE,
            f"there is no chat template at all: {patient.facts.fault}, and TEMPLATE is {NO_TEMPLATE}",
            "a base model continues texts, it does not chat; for one that was trained to chat, give its TEMPLATE",
        )


def _unequal(patient: Patient, proof: Proof) -> Iterator[Finding]:
    if proof.proven:
        return
    kind, verdict = first_difference(proof)
    if not kind:
        reason = f"can't be proven to render what the model's own chat template renders: {proof.reason}"
    else:
        reason = f"renders something else than the model's own chat template, first in the class {kind!r}"
    yield Finding(
        WRONG_TEMPLATE,
        f"TEMPLATE {reason}",
        "`--fix` puts in a proven one, where there is one",
        kind,
        verdict.diff if verdict is not None else "",
    )
