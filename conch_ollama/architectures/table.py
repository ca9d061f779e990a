"""The architectures that conch converts, by Hugging Face `model_type` and by GGUF name.

To add one: a file, a line here, a golden case.
"""

from __future__ import annotations

from collections.abc import Mapping

from conch_ollama.architectures.gguf_keys import text
from conch_ollama.architectures.llama import LLAMA
from conch_ollama.architectures.mistral import MISTRAL
from conch_ollama.architectures.qwen2 import QWEN2
from conch_ollama.architectures.qwen3 import QWEN3
from conch_ollama.architectures.rules import Architecture, Config
from conch_ollama.errors import BadConfigError, UnknownArchitectureError
from conch_ollama.formats.metadata import Metadata

#: Of two with the same GGUF name the first is the one that a GGUF is read as.
_ALL = (LLAMA, MISTRAL, QWEN2, QWEN3)

ARCHITECTURES: Mapping[str, Architecture] = {
    model_type: architecture for architecture in _ALL for model_type in architecture.model_types
}


def architecture_for(config: Config) -> Architecture:
    """The architecture of a Hugging Face model.

    Raises `BadConfigError` without a model_type, `UnknownArchitectureError` for one that is not known.
    """
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise BadConfigError("config.json: `model_type` is missing", hint="Is this the folder of a whole model?")
    if model_type not in ARCHITECTURES:
        raise _unknown(f"config.json: `model_type` is {model_type!r}", sorted(ARCHITECTURES))
    return ARCHITECTURES[model_type]


def architecture_by_name(metadata: Metadata) -> Architecture:
    """The architecture of a GGUF, by its `general.architecture`.

    Raises `BadGGUFError` without that key, `UnknownArchitectureError` for a name that is not known.
    """
    name = text(metadata, "general.architecture")
    for architecture in _ALL:
        if architecture.name == name:
            return architecture
    raise _unknown(f"`general.architecture` is {name!r}", sorted({architecture.name for architecture in _ALL}))


def _unknown(what: str, known: list[str]) -> UnknownArchitectureError:
    return UnknownArchitectureError(
        f"{what}, which conch does not convert (it converts: {', '.join(known)})",
        hint="An architecture is a file in conch_ollama/architectures; CONTRIBUTING.md says how to add one.",
    )
