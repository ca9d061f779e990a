"""A GGUF's chat template in words that llama.cpp renders as transformers renders the model's own.

The embedded runtime and Ollama from 0.30 on render the GGUF's Jinja by llama.cpp's engine, which is not transformers'.
Asks for the proof and changes the vocabulary; the words are `chat_template`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from conch_ollama.chat_template.record import text_sha256
from conch_ollama.errors import BadTemplateError
from conch_ollama.exporter.inputs import Inputs
from conch_ollama.workflows.chat_format import of_inputs

_ENGINE = "llama.cpp"


@dataclass(frozen=True)
class Plain:
    """`inputs`: with the chat template that the GGUF gets. `record`: for export.json."""

    inputs: Inputs
    record: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def with_plain_jinja(inputs: Inputs, name: str) -> Plain:
    """The inputs with a chat template that llama.cpp renders as transformers does, where there is one and a need.

    A warning where llama.cpp differs and no other words are proven, or where it can't be asked.
    """
    from conch_ollama.workflows.engines import engine_verdicts

    chat = of_inputs(inputs, name)
    if chat is None:
        return Plain(inputs)
    try:
        found = engine_verdicts(chat.jinja)[_ENGINE]
    except BadTemplateError as err:
        return Plain(inputs, warnings=(f"{_ENGINE} was not asked for its rendering: {err.message}",))
    corrected = found.get("corrected")
    if corrected is not None:
        changes = list(found.get("changes", ()))
        record = {"used": True, "changes": changes, "original_sha256": text_sha256(chat.source)}
        return Plain(replace(inputs, vocabulary=inputs.vocabulary.with_chat_template(corrected)), record)
    if found.get("proven"):
        return Plain(inputs, {"used": False, "reason": f"{_ENGINE} renders the model's own as transformers does"})
    reason = str(found.get("reason") or "it could not be asked")
    warning = (
        f"{_ENGINE} renders the GGUF's chat template otherwise than transformers, and no other words help: {reason}"
    )
    return Plain(inputs, {"used": False, "reason": reason}, (warning,))
