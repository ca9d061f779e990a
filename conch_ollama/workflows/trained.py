"""What an adapter was trained on, and whether the tokenizer's own chat template says the same.

What was trained is what a model answers well to: where the two part, the trained format takes the place of the
tokenizer's, and where training had no BOS in front the GGUF gets none either. Proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.trained.formats import from_training, trained_jinja, trained_stops
from conch_ollama.chat_template.trained.mismatch import Difference, mismatch
from conch_ollama.errors import BadTemplateError, NotFoundError
from conch_ollama.exporter.inputs import Inputs
from conch_ollama.tokenizers.token_list import TokenType
from conch_ollama.tokenizers.vocabulary import Vocabulary
from conch_ollama.workflows.template import writes_bos

_SPECIAL = (TokenType.CONTROL, TokenType.USER_DEFINED)
_SPACE_PREFIX = "tokenizer.ggml.add_space_prefix"


@dataclass(frozen=True)
class Trained:
    """`inputs`: with the chat template that was trained. `stops`: of the trained format. `record`: for export.json."""

    inputs: Inputs
    stops: tuple[str, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def with_trained_template(inputs: Inputs, wanted: str | None, *, writes_vocabulary: bool = True) -> Trained:
    """The inputs with the chat template that the adapter was trained on, and with its BOS.

    `wanted`: the name of a format of LLaMA-Factory; None takes it from the first adapter that says what it was trained
    with. The tokenizer's own template stays where it says the same, or differs in blank and odd contents only and the
    format was not named by the user. `writes_vocabulary`: the export writes a vocabulary; if not, what the server adds
    stays as it is. Raises NotFoundError for a `wanted` that nobody knows.
    """
    training = _training(inputs)
    name = wanted or training.get("template")
    if not isinstance(name, str):
        return Trained(inputs)
    try:
        trained = _jinja(inputs.vocabulary, training, wanted)
    except NotFoundError as err:
        if wanted is not None:
            raise
        warning = f"the adapter was trained with the template {name!r}, which is not known here: {err.message}"
        return Trained(inputs, record={"template": name, "known": False}, warnings=(warning,))
    if trained is None:
        return Trained(inputs)
    found = _chosen(inputs, name, trained, wanted is not None)
    return _with_bos(found, name, trained) if writes_vocabulary else found


def _chosen(inputs: Inputs, name: str, trained: JinjaTemplate, named: bool) -> Trained:
    vocabulary = inputs.vocabulary
    own, found = vocabulary.chat_template, None
    try:
        jinja = JinjaTemplate(own, bos_token=vocabulary.bos_text, eos_token=vocabulary.eos_text) if own else None
        found = mismatch(trained, jinja) if jinja is not None else None
    except BadTemplateError:
        jinja = None  # what does not work can't be what was trained
    record: dict[str, Any] = {"template": name, "by": "the user" if named else "training_args.yaml", "used": True}
    record["tokenizer_differs_in"] = list(found.kinds) if found is not None else []
    if found is not None:
        record["diff"] = found.diff
    alike = found is None or not (named or found.is_serious)
    bos = vocabulary.bos_text
    if jinja is not None and alike and (writes_bos(trained, bos) or not writes_bos(jinja, bos)):
        return Trained(inputs, record={**record, "used": False})
    changed = replace(inputs, vocabulary=vocabulary.with_chat_template(trained.source))
    stops = trained_stops(name, eos_token=vocabulary.eos_text)
    return Trained(changed, stops, record, (_warning(name, found),) if found is not None else ())


def _with_bos(found: Trained, name: str, trained: JinjaTemplate) -> Trained:
    """With `add_bos_token` as it was trained. LLaMA-Factory never asks the tokenizer for a BOS: its format writes one
    or there is none. One that stands in the chat template is the TEMPLATE's business."""
    vocabulary = found.inputs.vocabulary
    bos = vocabulary.bos_text
    wanted = writes_bos(trained, bos)
    if not bos or wanted == vocabulary.add_bos or (wanted and _writes_bos(vocabulary)):
        return found
    says = f"begins with {bos}" if wanted else f"has no {bos} in front"
    warning = (
        f"what LLaMA-Factory's template {name!r} trains on {says}, and the tokenizer says otherwise: the GGUF gets "
        f"add_bos_token = {str(wanted).lower()}"
    )
    inputs = replace(found.inputs, vocabulary=vocabulary.with_add_bos(wanted))
    record = {**found.record, "add_bos": wanted}
    return replace(found, inputs=inputs, record=record, warnings=(*found.warnings, warning))


def _writes_bos(vocabulary: Vocabulary) -> bool:
    template = JinjaTemplate(vocabulary.chat_template or "", bos_token=vocabulary.bos_text)
    return writes_bos(template, vocabulary.bos_text)


def _warning(name: str, found: Difference) -> str:
    return (
        f"the model was trained with LLaMA-Factory's template {name!r}, and {found.summary}: the trained format is "
        f"what TEMPLATE renders and what the GGUF gets; the first difference:\n{found.diff}"
    ).rstrip()


def _training(inputs: Inputs) -> Mapping[str, Any]:
    return next((adapter.training for adapter, _ in inputs.adapters if adapter.training), {})


def _jinja(vocabulary: Vocabulary, training: Mapping[str, Any], wanted: str | None) -> JinjaTemplate | None:
    tokens: dict[str, Any] = {"bos_token": vocabulary.bos_text, "eos_token": vocabulary.eos_text}
    if vocabulary.model == "llama":  # SentencePiece
        prefix = (vocabulary.carried or {}).get(_SPACE_PREFIX)
        tokens["space_prefix"] = prefix is None or bool(prefix.data)
        pairs = zip(vocabulary.tokens, vocabulary.types, strict=True)
        tokens["special_tokens"] = frozenset(text for text, kind in pairs if kind in _SPECIAL)
    if wanted is None:
        return from_training(training, **tokens)
    if training.get("template") == wanted:
        return from_training(training, **tokens) or trained_jinja(wanted, **tokens)
    return trained_jinja(wanted, **tokens)
