"""Which template a model is registered with: its Modelfile's, a file's, one proven anew, or the GGUF's own Jinja.

By the final name and the server's version: both decide what Ollama makes of a conversation. Nothing unproven passes
unless that is allowed. Asks no server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from conch_ollama.chat_template.ollama_render import OllamaTemplate
from conch_ollama.chat_template.ollama_values import Version
from conch_ollama.chat_template.record import text_sha256
from conch_ollama.errors import BadTemplateError, TemplateMismatchError
from conch_ollama.ollama.modelfile import Modelfile
from conch_ollama.ollama.versions import is_native
from conch_ollama.workflows.model_facts import ModelFacts
from conch_ollama.workflows.proofs import first_difference, rules_of, why_unproven
from conch_ollama.workflows.template import Proven, prove_format, prove_given
from conch_ollama.workflows.template_choice import NATIVE, PROVEN, read_template

_ALLOW = "--allow-unproven registers it all the same"


@dataclass(frozen=True)
class Chosen:
    """`modelfile`: with the TEMPLATE that was chosen. `native`: with none. `strategy`: where it comes from, in a word.
    `notes`: what the user should know."""

    modelfile: Modelfile
    strategy: str
    proven: bool
    native: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Registering:
    """What is to be registered: `record` is export.json's of the proof, `version` the server's."""

    modelfile: Modelfile
    facts: ModelFacts
    name: str
    version: str
    record: Mapping[str, Any]
    allow_unproven: bool = False

    @property
    def proof_version(self) -> Version:
        """Whose rules count."""
        return rules_of(self.version)


def choose(task: Registering, template: str | Path | None) -> Chosen:
    """`template`: "native", "proven", a file, or None for what the Modelfile has.

    Raises TemplateMismatchError where there is no proof and none is not allowed, BadTemplateError for a TEMPLATE that
    Ollama would refuse, NotFoundError for a file that is not there.
    """
    if template == NATIVE:
        return _native(task, "as was asked")
    if template == PROVEN:
        return _proven(task)
    if template is not None:
        text = read_template(Path(template))
        return _given(replace(task, modelfile=replace(task.modelfile, template=text)), "file")
    if task.modelfile.renderer is not None:
        return Chosen(task.modelfile, f"RENDERER {task.modelfile.renderer}", proven=False)
    if task.modelfile.template is None:
        return _without(task)
    return _given(task, "Modelfile")


def _native(task: Registering, why: str) -> Chosen:
    """That the server can do it is checked when it is done."""
    note = f"no TEMPLATE ({why}): Ollama {task.version} renders the chat template in the GGUF"
    return Chosen(replace(task.modelfile, template=None), NATIVE, proven=False, native=True, notes=(note,))


def _proven(task: Registering) -> Chosen:
    best = _best(task)
    if isinstance(best, Proven) and best.proof.proven:
        return _with(task, best, ())
    raise TemplateMismatchError(
        f"no TEMPLATE is proven for {task.name}: {_why(best)}",
        hint="--template native leaves it to the GGUF's own chat template"
        if is_native(task.version) and task.facts.chat is not None
        else "give one with --template FILE --allow-unproven",
    )


def _with(task: Registering, best: Proven, notes: tuple[str, ...]) -> Chosen:
    """The Modelfile with another TEMPLATE and the stops that it needs."""
    stops = task.modelfile.parameters.get("stop", ())
    kept = stops if isinstance(stops, tuple) else ()
    parameters = {**task.modelfile.parameters, "stop": tuple(dict.fromkeys((*kept, *best.stops)))}
    modelfile = replace(task.modelfile, template=best.proof.template, parameters=parameters)
    return Chosen(modelfile, best.proof.strategy, proven=best.proof.proven, notes=notes)


def _without(task: Registering) -> Chosen:
    """The Modelfile has no TEMPLATE: none was proven, or native was asked for."""
    if is_native(task.version) and task.facts.chat is not None:
        return _native(task, "the Modelfile has none")
    best = _best(task)
    if isinstance(best, Proven) and best.proof.template and (best.proof.proven or task.allow_unproven):
        return _with(task, best, () if best.proof.proven else (f"TEMPLATE is NOT PROVEN: {_why(best)}",))
    raise TemplateMismatchError(
        f"the Modelfile of {task.name} has no TEMPLATE, so Ollama would guess how to talk to the model: {_why(best)}",
        hint="give one with --template FILE; `conch chat` uses the model's own Jinja template and needs none",
    )


def _given(task: Registering, source: str) -> Chosen:
    text = task.modelfile.template or ""
    try:
        OllamaTemplate(text, task.proof_version)
    except BadTemplateError as err:
        raise BadTemplateError(
            f"Ollama {task.version} would refuse the TEMPLATE ({source}) for {task.name}: {err.message}", hint=err.hint
        ) from err
    held = _held(task, text)
    if isinstance(held, Proven) and held.proof.proven:
        return Chosen(task.modelfile, source, proven=True)
    if source == "Modelfile" and isinstance(held, Proven) and _is_exported(task, text):
        best = _best(task)
        if isinstance(best, Proven) and best.proof.proven:
            note = (
                f"the exported TEMPLATE is not right for the name {task.name} in Ollama {task.version}: "
                f"another one that is proven there ({best.proof.strategy}) takes its place"
            )
            return _with(task, best, (note,))
    if task.allow_unproven:
        return Chosen(task.modelfile, source, proven=False, notes=(f"TEMPLATE is NOT PROVEN: {_why(held)}",))
    raise TemplateMismatchError(
        f"the TEMPLATE for {task.name} is not proven to render what the model was trained on: "
        f"{_why(held)}{_diff(held)}",
        hint=f"--template proven puts in one that is, where there is one; {_ALLOW}",
    )


def _is_exported(task: Registering, text: str) -> bool:
    """Whether the TEMPLATE is the one whose proof the export recorded: nobody wrote it by hand."""
    return bool(task.record.get("proven")) and task.record.get("template_sha256") == text_sha256(text)


def _held(task: Registering, text: str) -> Proven | str:
    if task.facts.chat is None:
        return f"there is nothing to prove it against: {task.facts.fault}"
    try:
        return prove_given(task.facts.chat, text, task.name, version=task.proof_version)
    except BadTemplateError as err:
        return err.message


def _best(task: Registering) -> Proven | str:
    if task.facts.chat is None:
        return task.facts.fault
    try:
        return prove_format(task.facts.chat, task.name, version=task.proof_version)
    except BadTemplateError as err:
        return err.message


def _why(held: Proven | str) -> str:
    return held if isinstance(held, str) else why_unproven(held.proof)


def _diff(held: Proven | str) -> str:
    verdict = first_difference(held.proof)[1] if isinstance(held, Proven) else None
    return f"\n{verdict.diff}".rstrip() if verdict is not None and verdict.diff else ""
