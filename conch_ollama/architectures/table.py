"""The architectures that conch converts, by Hugging Face `model_type` and by GGUF name.

To add one: a file, a line here, a golden case.
"""

from __future__ import annotations

from collections.abc import Mapping

from conch_ollama.architectures.gguf_keys import PlainMetadata, whole
from conch_ollama.architectures.llama import LLAMA
from conch_ollama.architectures.mistral import MISTRAL
from conch_ollama.architectures.qwen2 import QWEN2
from conch_ollama.architectures.qwen3 import QWEN3
from conch_ollama.architectures.rules import Architecture, Config
from conch_ollama.errors import BadConfigError, BadGGUFError, UnknownArchitectureError

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


def architecture_by_name(name: object, metadata: PlainMetadata) -> Architecture:
    """The architecture of a GGUF, by its `general.architecture`; `metadata`: its keys with plain values.

    Raises `BadGGUFError` without a name or for an adapter's file, `UnknownArchitectureError` for one not known.
    """
    if not isinstance(name, str):
        raise BadGGUFError("the metadata has no `general.architecture`")
    if metadata.get("general.type", "model") != "model":
        raise BadGGUFError(f"`general.type` is {metadata['general.type']!r}: the file holds no whole model")
    if whole(metadata, "split.count", 0) > 1:
        raise BadGGUFError(
            f"the file is one of {whole(metadata, 'split.count')} parts of a model",
            hint="Join them with llama.cpp's llama-gguf-split --merge.",
        )
    for architecture in _ALL:
        if architecture.name == name:
            return architecture
    raise _unknown(f"`general.architecture` is {name!r}", sorted({architecture.name for architecture in _ALL}))


def _unknown(what: str, known: list[str]) -> UnknownArchitectureError:
    return UnknownArchitectureError(
        f"{what}, which conch does not convert (it converts: {', '.join(known)})",
        hint="An architecture is a file in conch_ollama/architectures; CONTRIBUTING.md says how to add one.",
    )
