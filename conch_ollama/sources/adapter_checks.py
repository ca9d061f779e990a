"""Whether an adapter file holds what its configuration announces: both halves of every pair, with the right ranks.

Needs no base; whether the adapter fits one is `merge_plan`'s question.
"""

from __future__ import annotations

from collections.abc import Mapping

from conch_ollama.errors import BadFileError
from conch_ollama.formats.tensors import TensorInfo
from conch_ollama.sources.adapter_config import AdapterConfig
from conch_ollama.sources.adapter_names import Part

Modules = Mapping[str, Mapping[Part, str]]

_PAIRS = {
    Part.LORA_A: Part.LORA_B,
    Part.LORA_B: Part.LORA_A,
    Part.EMBEDDING_A: Part.EMBEDDING_B,
    Part.EMBEDDING_B: Part.EMBEDDING_A,
    Part.LORA_BIAS: Part.LORA_B,
}
_AGAIN = "save the adapter again: under DeepSpeed ZeRO-3 or FSDP its parts must be gathered first"


def check_complete(modules: Modules, tensors: Mapping[str, TensorInfo], config: AdapterConfig, path: str) -> None:
    """Raise `BadFileError`, which names the tensor or the module that is wrong or missing."""
    for name, info in tensors.items():
        if info.elements == 0:
            raise BadFileError(f"{path}: {name} is empty, its shape is {list(info.shape)}", hint=_AGAIN)
    for module, parts in modules.items():
        for part, partner in _PAIRS.items():
            if part in parts and partner not in parts:
                raise BadFileError(f"{path}: {module} has {part} and no {partner}", hint=_AGAIN)
        _check_ranks(module, parts, tensors, config, path)
        _check_magnitude(module, parts, config, path)
    _check_announced(modules, config, path)


def _check_ranks(
    module: str, parts: Mapping[Part, str], tensors: Mapping[str, TensorInfo], config: AdapterConfig, path: str
) -> None:
    for a, b in ((Part.LORA_A, Part.LORA_B), (Part.EMBEDDING_A, Part.EMBEDDING_B)):
        if a not in parts:
            continue
        first, second = tensors[parts[a]], tensors[parts[b]]
        if len(first.shape) != 2 or len(second.shape) != 2:
            raise BadFileError(
                f"{path}: {first.name} and {second.name} are no matrices: {list(first.shape)}, {list(second.shape)}",
                hint="only linear layers and embeddings can be merged",
            )
        rank = config.rank_of(module)
        if first.shape[0] != rank or second.shape[1] != rank:
            raise BadFileError(
                f"{path}: {first.name} is {list(first.shape)} and {second.name} is {list(second.shape)}, but the rank "
                f"of {module} is {rank} in {config.path.name}",
                hint="weights and configuration must come from the same training",
            )


def _check_magnitude(module: str, parts: Mapping[Part, str], config: AdapterConfig, path: str) -> None:
    adapted = Part.LORA_A in parts or Part.EMBEDDING_A in parts
    if config.use_dora and adapted and Part.MAGNITUDE not in parts:
        raise BadFileError(f"{path}: use_dora is set and {module} has no {Part.MAGNITUDE}", hint=_AGAIN)
    if Part.MAGNITUDE in parts and not (config.use_dora and adapted):
        raise BadFileError(
            f"{path}: {parts[Part.MAGNITUDE]} belongs to DoRA, which {config.path.name} does not set",
            hint="weights and configuration must come from the same training",
        )


def _check_announced(modules: Modules, config: AdapterConfig, path: str) -> None:
    for name in config.modules_to_save:
        whole = (module for module, parts in modules.items() if Part.WEIGHT in parts or Part.BIAS in parts)
        if not any(f".{name}." in f".{module}." for module in whole):
            raise BadFileError(f"{path}: modules_to_save names {name} and there is no weight of it", hint=_AGAIN)
    trained = {module: parts for module, parts in modules.items() if Part.TOKENS in parts}
    for module, parts in trained.items():
        if config.tokens_of(module) is None:
            raise BadFileError(
                f"{path}: there is {parts[Part.TOKENS]}, and trainable_token_indices does not say which rows it holds",
                hint="weights and configuration must come from the same training",
            )
    held = {config.tokens_of(module) for module in trained}
    for tokens_of, rows in config.token_indices.items():
        # Where input and output share their weight, rows that are the same for both are saved once.
        if rows not in held:
            raise BadFileError(
                f"{path}: trainable_token_indices names {tokens_of or 'the embedding'} and its rows are not there",
                hint=_AGAIN,
            )
