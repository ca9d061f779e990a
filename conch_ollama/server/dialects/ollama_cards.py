"""What Ollama's clients are told about models: lists, /api/show, what is loaded. Pure.

The `ollama` program panics on digests of less than 12 characters, and on a `model_info` without architecture, parameter
count, context and embedding length.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from conch_ollama.ollama.modelfile import Modelfile, write
from conch_ollama.runtimes.protocol import CAPABILITIES, ModelCard
from conch_ollama.server.dialects.ollama_answers import instant

#: Far enough for "never", near enough for every date library.
_NEVER = 10_982_476_800.0


def full_name(name: str) -> str:
    """With its tag, as Ollama lists names."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def listed(name: str, card: ModelCard) -> dict[str, Any]:
    """An entry of /api/tags."""
    return {
        "name": full_name(name),
        "model": full_name(name),
        "modified_at": instant(card.modified),
        "size": card.size,
        "digest": _digest(name, card),
        "details": _details(card),
    }


def running(name: str, card: ModelCard, expires: float) -> dict[str, Any]:
    """An entry of /api/ps. `expires`: seconds since 1970, 0 for never."""
    made = listed(name, card)
    del made["modified_at"]
    length = {"context_length": card.options["num_ctx"]} if "num_ctx" in card.options else {}
    return made | {"expires_at": instant(expires or _NEVER), "size_vram": 0} | length


def shown(name: str, card: ModelCard, *, go_template: bool) -> dict[str, Any]:
    """The answer of /api/show. `go_template`: the card's template is a TEMPLATE, not the GGUF's Jinja."""
    template = card.template if go_template else ""
    architecture = card.architecture or "unknown"
    info: dict[str, Any] = {
        "general.architecture": architecture,
        "general.parameter_count": card.parameters,
        f"{architecture}.context_length": card.context_length,
        f"{architecture}.embedding_length": card.embedding_length,
    }
    if card.template and not go_template:
        info["tokenizer.chat_template"] = card.template
    made: dict[str, Any] = {
        "modelfile": _modelfile(name, card, template),
        "parameters": "\n".join(_parameters(card.options)),
        "template": template,
        "details": _details(card),
        "model_info": info,
        "capabilities": [word for word in CAPABILITIES if word in card.capabilities],
        "modified_at": instant(card.modified),
    }
    made |= {key: value for key, value in (("system", card.system), ("license", card.license)) if value}
    return made


def _modelfile(name: str, card: ModelCard, template: str) -> str:
    from conch_ollama.errors import BadModelfileError, OllamaError

    options = {key: tuple(value) if isinstance(value, list) else value for key, value in card.options.items()}
    try:
        return write(Modelfile(name, template or None, card.system or None, options))
    except (BadModelfileError, OllamaError):
        return f"FROM {name}\n"  # options of another runtime that no Modelfile can hold


def _parameters(options: Mapping[str, Any]) -> list[str]:
    lines = []
    for key, value in options.items():
        values = value if isinstance(value, list | tuple) else [value]
        lines += [f"{key:<30} {json.dumps(one, ensure_ascii=False)}" for one in values]
    return lines


def _digest(name: str, card: ModelCard) -> str:
    return card.digest or sha256(name.encode()).hexdigest()


def _details(card: ModelCard) -> dict[str, Any]:
    family = card.architecture or "unknown"
    return {
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family],
        "parameter_size": _human(card.parameters),
        "quantization_level": card.quantization or "unknown",
    }


def _human(count: int) -> str:
    """134.52M, 1.8B: as Ollama writes it."""
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if count >= size:
            return f"{count / size:.2f}".rstrip("0").rstrip(".") + unit
    return str(count)
