"""Names of the tensors in an adapter file: which module of the model each belongs to, and which part of it it is.

Formats: `get_peft_model_state_dict` of PEFT's utils/save_and_load.py, and older files that kept the adapter's name
("default") in them. Reads no weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum

from conch_ollama.errors import AdapterKindError, BadFileError
from conch_ollama.sources.adapter_config import AdapterConfig


class Part(StrEnum):
    """What a tensor is to its module."""

    LORA_A = "lora_A"
    LORA_B = "lora_B"
    LORA_BIAS = "lora_B.bias"
    EMBEDDING_A = "lora_embedding_A"
    EMBEDDING_B = "lora_embedding_B"
    MAGNITUDE = "lora_magnitude_vector"
    TOKENS = "trainable_tokens_delta"
    #: The frozen weight or bias below the adapter, kept with it because it differs from the base's or might.
    BASE_WEIGHT = "base_layer.weight"
    BASE_BIAS = "base_layer.bias"
    #: A weight or bias that was trained as a whole.
    WEIGHT = "weight"
    BIAS = "bias"


_PREFIXES = ("base_model.model.", "base_model.")
_PATTERNS = tuple(
    (re.compile(pattern), part)
    for pattern, part in (
        (r"(.+)\.lora_A(?:\.[^.]+)?\.weight", Part.LORA_A),
        (r"(.+)\.lora_B(?:\.[^.]+)?\.weight", Part.LORA_B),
        (r"(.+)\.lora_B(?:\.[^.]+)?\.bias", Part.LORA_BIAS),
        (r"(.+)\.lora_embedding_A(?:\.[^.]+)?", Part.EMBEDDING_A),
        (r"(.+)\.lora_embedding_B(?:\.[^.]+)?", Part.EMBEDDING_B),
        (r"(.+)\.lora_magnitude_vector(?:\.[^.]+)?(?:\.weight)?", Part.MAGNITUDE),
        (r"(.+)\.token_adapter\.trainable_tokens_delta(?:\.[^.]+)?", Part.TOKENS),
        (r"(.+)\.(?:base_layer|original_module)\.weight", Part.BASE_WEIGHT),
        (r"(.+)\.(?:base_layer|original_module)\.bias", Part.BASE_BIAS),
        (r"(.+)\.modules_to_save(?:\.[^.]+)?\.weight", Part.WEIGHT),
        (r"(.+)\.modules_to_save(?:\.[^.]+)?\.bias", Part.BIAS),
    )
)
_WHOLE = re.compile(r"(.+)\.(weight|bias)")


def parts_by_module(names: Iterable[str], config: AdapterConfig, path: str) -> Mapping[str, Mapping[Part, str]]:
    """For each module, in its own model's names ("model.layers.0.self_attn.q_proj"), the tensor of each of its parts.

    A plain `.weight` is a trained one where `modules_to_save` names the module, and the frozen one otherwise (saved
    because the vocabulary had been resized). Raises `AdapterKindError` for a name of no known form, and for a file
    that holds two adapters; `BadFileError` for one that holds nothing.
    """
    found: dict[str, dict[Part, str]] = {}
    for name in names:
        module, part = _parse(name, config, path)
        parts = found.setdefault(module, {})
        if part not in parts:
            parts[part] = name
        elif part in (Part.WEIGHT, Part.BIAS):
            # A wrapped module that was saved twice: PEFT itself loads the plain name.
            parts[part] = min(parts[part], name, key=lambda text: "modules_to_save" in text)
        else:
            raise AdapterKindError(
                f"{path} holds two adapters: both {parts[part]} and {name}", hint="save each into a folder of its own"
            )
    if not found:
        raise BadFileError(f"{path} holds no tensors", hint="copy the file again from the training run")
    return found


def _parse(name: str, config: AdapterConfig, path: str) -> tuple[str, Part]:
    prefix = next((prefix for prefix in _PREFIXES if name.startswith(prefix)), "")
    bare = name.removeprefix(prefix)
    for pattern, part in _PATTERNS:
        match = pattern.fullmatch(bare)
        if match:
            return match[1], part
    match = _WHOLE.fullmatch(bare)
    if match is None or ".lora_" in bare or ".token_adapter." in bare:
        raise AdapterKindError(
            f"{path}: tensor {name} is no part of a LoRA adapter that is known",
            hint="merge it with PEFT's merge_and_unload and give the merged folder as the base",
        )
    saved = config.saves(match[1])
    if match[2] == "weight":
        return match[1], Part.WEIGHT if saved else Part.BASE_WEIGHT
    return match[1], Part.BIAS if saved else Part.BASE_BIAS
