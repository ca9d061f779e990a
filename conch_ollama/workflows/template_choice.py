"""Which TEMPLATE an export's Modelfile gets, and the proof that is recorded: proven, native, a file, or the nearest.

Decides before anything is planned, since the proof goes into the GGUF too. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conch_ollama.chat_template.ollama_render import OllamaTemplate
from conch_ollama.chat_template.record import text_sha256
from conch_ollama.errors import BadTemplateError, NotFoundError, TemplateMismatchError
from conch_ollama.exporter.inputs import Inputs
from conch_ollama.workflows.chat_format import ChatFormat, of_inputs
from conch_ollama.workflows.plain_jinja import Plain, with_plain_jinja
from conch_ollama.workflows.proofs import why_unproven
from conch_ollama.workflows.template import Proven, prove_format, prove_given
from conch_ollama.workflows.trained import Trained, with_trained_template

if TYPE_CHECKING:
    from conch_ollama.workflows.export_options import ExportOptions

NATIVE, PROVEN = "native", "proven"
UNPROVEN = "no TEMPLATE: none is proven to render what this model was trained on"
_OWN = "what the model's own chat template renders"
_NATIVE = (
    "no TEMPLATE, as was asked: Ollama from 0.30 on renders the chat template in the GGUF, an older one would guess "
    "how to talk to the model"
)


@dataclass(frozen=True)
class Choice:
    """`text`: the TEMPLATE, None for none; `strategy`: where it comes from if it is proven. `comment`: for the
    Modelfile. `record`: for export.json and the GGUF. `inputs`: with the chat template that was trained."""

    inputs: Inputs
    text: str | None
    strategy: str | None
    comment: str
    record: Mapping[str, Any]
    stops: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should see of it: where the TEMPLATE comes from, and what Ollama alters all the same."""
        altered = self.record.get("altered_by_ollama")
        if not altered or self.text is None:
            return (self.comment,)
        text = f"altered by Ollama: {altered['conversations']} conversations of the proof: {altered['why']}"
        return self.comment, text


def choose_template(inputs: Inputs, options: ExportOptions, name: str, *, writes_vocabulary: bool = True) -> Choice:
    """The TEMPLATE for the model that will be called `name` in Ollama. `writes_vocabulary`: not of an adapter alone.

    Raises NotFoundError for a file that is not there or an unknown --train-template, BadTemplateError for one that
    Ollama would refuse, TemplateMismatchError for "native" where there is no chat template.
    """
    trained = with_trained_template(inputs, options.train_template, writes_vocabulary=writes_vocabulary)
    plain = with_plain_jinja(trained.inputs, name) if options.plain_jinja else Plain(trained.inputs)
    choice = _chosen(plain.inputs, options, name)
    parts = {"trained": trained.record, "plain_jinja": plain.record}
    record = {**choice.record, **{key: dict(part) for key, part in parts.items() if part}}
    stops = tuple(dict.fromkeys((*choice.stops, *trained.stops)))
    comment = choice.comment
    if trained.record.get("used"):
        stops = trained.stops or choice.stops  # what the compiler saw may stand inside an answer (gpt_oss)
        comment = comment.replace(_OWN, f"what was trained, LLaMA-Factory's template {trained.record['template']!r}")
    return replace(choice, comment=comment, record=record, stops=stops, warnings=(*trained.warnings, *choice.warnings))


def _chosen(inputs: Inputs, options: ExportOptions, name: str) -> Choice:
    chat = of_inputs(inputs, name)
    if options.template == NATIVE:
        return _native(inputs, chat, name)
    if options.template not in (None, PROVEN):
        return _given(inputs, chat, Path(options.template), name)
    if chat is None:
        return _without_jinja(inputs)
    try:
        proven = prove_format(chat, name)
    except BadTemplateError as err:
        warning = f"the model's own chat template does not work: {err.message}; the Modelfile gets no TEMPLATE"
        record = {"strategy": None, "proven": False, "error": err.message}
        return Choice(inputs, None, None, _refusal(err.message), record, warnings=(warning,))
    return _proven(inputs, proven) if proven.proof.proven else _unproven(inputs, proven, options.allow_unproven)


def _proven(inputs: Inputs, proven: Proven) -> Choice:
    proof = proven.proof
    return Choice(
        inputs,
        proof.template,
        proof.strategy,
        f"template: {proof.strategy}, renders byte for byte {_OWN}",
        proven.record,
        proof.stops,
        proof.parameters,
        (*proof.warnings, *proven.warnings),
    )


def _unproven(inputs: Inputs, proven: Proven, allowed: bool) -> Choice:
    proof, why = proven.proof, why_unproven(proven.proof)
    record = {**proven.record, "reason": why, "used": allowed and bool(proof.template)}
    if not record["used"]:
        warning = f"{UNPROVEN}: {why} (give one with --template FILE; --allow-unproven takes the nearest)"
        return Choice(inputs, None, None, _refusal(why), record, warnings=(*proven.warnings, warning))
    warning = f"the TEMPLATE ({proof.strategy}) is NOT PROVEN: {why}"
    return Choice(
        inputs,
        proof.template,
        None,
        f"template: {proof.strategy}, NOT PROVEN to render what the model was trained on: {why}",
        record,
        proof.stops,
        proof.parameters,
        (*proof.warnings, *proven.warnings, warning),
    )


def _refusal(why: str) -> str:
    return f"{UNPROVEN} ({why}). `conch register` refuses it without --template FILE."


def _native(inputs: Inputs, chat: ChatFormat | None, name: str) -> Choice:
    if chat is None:
        raise TemplateMismatchError(
            f"{name} can't go without a TEMPLATE: it has no chat template that a new Ollama could render",
            hint="give a Go TEMPLATE with --template FILE",
        )
    record = {
        "strategy": NATIVE,
        "proven": False,
        "reason": "native: there is no TEMPLATE, a new Ollama renders the chat template in the GGUF",
        "jinja_sha256": text_sha256(chat.source),
    }
    return Choice(inputs, None, None, f"template: {_NATIVE}", record, warnings=(_NATIVE,))


def _given(inputs: Inputs, chat: ChatFormat | None, path: Path, name: str) -> Choice:
    text = read_template(path)
    try:
        OllamaTemplate(text)
    except BadTemplateError as err:
        raise BadTemplateError(f"{path}: Ollama would refuse this TEMPLATE: {err.message}", hint=err.hint) from err
    why = "it has no chat template"
    try:
        held = prove_given(chat, text, name) if chat is not None else None
    except BadTemplateError as err:
        held, why = None, f"its own chat template does not work: {err.message}"
    if held is None:
        warning = f"the TEMPLATE of {path} is used as it is, nothing proves it right for the model: {why}"
        record = {"strategy": "file", "proven": False, "reason": why, "template_sha256": text_sha256(text)}
        return Choice(inputs, text, None, "template: taken as it was, not proven", record, warnings=(warning,))
    record = {**held.record, "strategy": "file"}
    if held.proof.proven:
        comment = f"template: from a file, renders byte for byte {_OWN}"
        return Choice(inputs, text, "file", comment, record, warnings=held.warnings)
    why = why_unproven(held.proof)
    warning = f"the TEMPLATE of {path} is used, and does not render what the model was trained on: {why}"
    comment = f"template: from a file, NOT PROVEN to render what the model was trained on: {why}"
    return Choice(inputs, text, None, comment, {**record, "reason": why}, warnings=(*held.warnings, warning))


def _without_jinja(inputs: Inputs) -> Choice:
    stored = inputs.base.ollama
    if stored is not None and stored.template:
        warning = f"the GGUF has no chat template: the TEMPLATE of {inputs.base.name} in Ollama is used, not proven"
        record = {"strategy": "ollama", "proven": False, "template_sha256": text_sha256(stored.template)}
        comment = "template: taken as it was, not proven"
        return Choice(inputs, stored.template, None, comment, record, warnings=(warning,))
    warning = "the model has no chat template: the Modelfile gets no TEMPLATE (give one with --template FILE)"
    record = {"strategy": None, "proven": False, "reason": "the model has no chat template"}
    return Choice(inputs, None, None, _refusal("it has no chat template"), record, warnings=(warning,))


def read_template(path: Path) -> str:
    """A Go TEMPLATE from a file. Raises NotFoundError, BadTemplateError where it is not text."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as err:
        raise NotFoundError(f"can't read the template {path}: {err.strerror}") from err
    except UnicodeDecodeError as err:
        raise BadTemplateError(f"{path} is no TEMPLATE: it is not UTF-8 text ({err})") from err


__all__ = ["NATIVE", "PROVEN", "UNPROVEN", "Choice", "Trained", "choose_template", "read_template"]
