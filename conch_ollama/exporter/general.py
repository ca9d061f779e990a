"""The `general.*` metadata of a GGUF, and conch's own `conch.*` keys: what the model is and where it comes from.

Pure. Keys and their meaning: the GGUF specification (ggml/docs/gguf.md), section "General metadata".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conch_ollama.exporter.inputs import Inputs
from conch_ollama.exporter.provenance import Provenance
from conch_ollama.formats.metadata import Metadata, Value, f32, i32, string, strings, u32

#: generation_config.json -> (GGUF key, value's type), as llama.cpp reads it.
SAMPLING = {
    "temperature": ("general.sampling.temp", f32),
    "top_p": ("general.sampling.top_p", f32),
    "top_k": ("general.sampling.top_k", i32),
    "min_p": ("general.sampling.min_p", f32),
    "repetition_penalty": ("general.sampling.penalty_repeat", f32),
}
#: Carried over from a GGUF base in no case: they describe its own bytes.
_OF_THE_FILE = ("general.file_type", "general.quantization_version", "general.size_label", "general.name")


def file_metadata(
    inputs: Inputs,
    name: str,
    parameters: int,
    provenance: Provenance,
    template: Mapping[str, str | Sequence[str]] | None = None,
) -> dict[str, Value]:
    """All metadata that the files of one export have in common, in the order in which they are written.

    `template`: what is recorded of the proof of the Modelfile's TEMPLATE, below `conch.template.`.
    """
    architecture = inputs.architecture
    metadata: dict[str, Value] = {
        "general.architecture": string(architecture.name),
        "general.type": string("model"),
        "general.name": string(name),
        "general.size_label": string(size_label(parameters)),
    }
    if inputs.gguf is not None:
        for key, value in inputs.gguf.metadata.items():
            if key.startswith("general.") and key not in metadata and key not in _OF_THE_FILE:
                metadata[key] = value
    metadata.update(_origin(provenance))
    for key, said in (template or {}).items():
        metadata[f"conch.template.{key}"] = string(said) if isinstance(said, str) else strings(said)
    metadata.update(_sampling(inputs.generation))
    metadata.update(_architecture_metadata(inputs))
    metadata.update(inputs.vocabulary.metadata())
    return metadata


def adapter_metadata(inputs: Inputs, name: str, provenance: Provenance, alpha: float) -> dict[str, Value]:
    """The metadata of a GGUF that holds the adapter alone: keys as llama.cpp's llama-adapter.cpp reads them."""
    origin = _origin(provenance)
    origin.pop("conch.merge.dtype", None)  # nothing is merged
    return {
        "general.architecture": string(inputs.architecture.name),
        "general.type": string("adapter"),
        "general.name": string(name),
        **origin,
        "adapter.type": string("lora"),
        "adapter.lora.alpha": f32(alpha),
    }


def size_label(parameters: int) -> str:
    """ "135M", "1.8B": two digits at least, as the GGUF naming convention has it (ggml/docs/gguf.md)."""
    scales = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))
    scale, suffix = next(((scale, suffix) for scale, suffix in scales if parameters > scale), scales[-1])
    scaled = parameters / scale
    digits = max(2 - len(str(round(scaled)).lstrip("0")), 0)
    return f"{scaled:.{digits}f}{suffix}"


def _origin(provenance: Provenance) -> dict[str, Value]:
    found: dict[str, Value] = {}
    if provenance.license:
        found["general.license"] = string(provenance.license)
    base = provenance.base
    found["general.base_model.count"] = u32(1)
    found["general.base_model.0.name"] = string(base["name"])
    if base.get("repo") and "/" in base["repo"]:
        organization, _, _ = base["repo"].partition("/")
        found["general.base_model.0.organization"] = string(organization)
        found["general.base_model.0.repo_url"] = string(f"https://huggingface.co/{base['repo']}")
    if base.get("revision"):
        found["general.base_model.0.version"] = string(base["revision"])
    if provenance.data_sets:
        found["general.datasets"] = strings(provenance.data_sets)
    tags = ["text-generation", "conch", *(["lora"] if provenance.adapters else [])]
    found["general.tags"] = strings(tags)
    for key, text in provenance.keys().items():
        found[f"conch.{key}"] = string(text)
    return found


def _sampling(generation: Mapping[str, Any]) -> dict[str, Value]:
    if generation.get("do_sample") is False:
        return {}
    return {
        key: make(generation[name])
        for name, (key, make) in SAMPLING.items()
        if isinstance(generation.get(name), int | float)
    }


def _architecture_metadata(inputs: Inputs) -> Metadata:
    """From the configuration; over a GGUF base its own keys stay, but for those that the adapter changed."""
    computed = dict(inputs.architecture.metadata(inputs.weights.config))
    if inputs.gguf is None:
        return computed
    before = inputs.architecture.metadata(inputs.base_config)
    changed = {key for key, value in computed.items() if key in before and before[key] != value}
    prefix = f"{inputs.architecture.name}."
    carried = {
        key: value for key, value in inputs.gguf.metadata.items() if key.startswith(prefix) and key not in changed
    }
    return {**computed, **carried}
