"""Kinds of adapters: which keys of `adapter_config.json` are known, and refusal of what W + BA would get wrong.

Every key is either handled, known to matter in training only, refused with the reason, or unknown; an unknown key
passes only with an empty value. Keys: `peft.LoraConfig` of PEFT 0.4 to 0.21.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conch_ollama.errors import AdapterKindError, BadConfigError

#: Read here.
HANDLED = frozenset(
    {
        "peft_type",
        "r",
        "lora_alpha",
        "rank_pattern",
        "alpha_pattern",
        "use_rslora",
        "use_dora",
        "bias",
        "lora_bias",
        "modules_to_save",
        "trainable_token_indices",
        "ensure_weight_tying",
        "init_lora_weights",
        "base_model_name_or_path",
        "revision",
    }
)

#: They decide where and how training happens; what they led to is seen in the tensors.
TRAINING_ONLY = frozenset(
    {
        "task_type",
        "inference_mode",
        "auto_mapping",
        "peft_version",
        "lora_dropout",
        "target_modules",
        "exclude_modules",
        "layers_to_transform",
        "layers_pattern",
        "megatron_core",
        "loftq_config",
        "eva_config",
        "corda_config",
        "lora_ga_config",
        "qalora_group_size",
        "runtime_config",
        "velora_config",
        "unsloth_fixed",
    }
)

#: Any value but an empty one is refused.
REFUSED: Mapping[str, str] = {
    "layer_replication": "the trained model has layers of the base more than once",
    "target_parameters": "it changes parameters that are not the weight of a linear layer",
    "alora_invocation_tokens": "an activated LoRA (aLoRA) holds only after its invocation tokens: it can't be merged",
    "megatron_config": "it was trained on Megatron's parallel layers",
    "fan_in_fan_out": "the base's weights would be stored transposed",
    "use_qalora": "QALoRA pools the input of the adapter",
    "use_bdlora": "its matrices are block-diagonal",
    "arrow_config": "Arrow chooses among adapters token by token: it can't be merged",
    "monteclora_config": "MonteCLoRA samples its weights",
    "kasa_config": "KaSA changes the base's weights when it starts",
}

_KEEP_BASE = ("gaussian", "eva", "orthogonal", "mica")
_ALTER_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


def refuse_other_kinds(path: Path, raw: Mapping[str, Any]) -> None:
    """Raise `AdapterKindError`, naming the key, for all but a plain LoRA, DoRA or rsLoRA."""
    _refuse_other_type(path, raw)
    _refuse_keys(path, raw)


def _refuse_other_type(path: Path, raw: Mapping[str, Any]) -> None:
    kind = raw.get("peft_type")
    if kind == "LORA":
        return
    if kind is None and ("lora_parameters" in raw or "fine_tune_type" in raw):
        raise AdapterKindError(
            f"{path} has no peft_type: it is an adapter of mlx-lm, not of PEFT",
            hint="fuse it with mlx_lm.fuse and give the fused folder as the base",
        )
    if kind is None:
        raise BadConfigError(f"{path} has no peft_type", hint="it must be the adapter_config.json that PEFT writes")
    raise AdapterKindError(
        f"{path}: peft_type is {short(kind)}; only LORA can be merged here",
        hint="merge it with PEFT's merge_and_unload and give the merged folder as the base",
    )


def _refuse_keys(path: Path, raw: Mapping[str, Any]) -> None:
    for key, value in raw.items():
        if not value or key in HANDLED or key in TRAINING_ONLY:
            continue
        reason = REFUSED.get(key, "the key is not known, so what it does to the weights isn't either")
        raise AdapterKindError(
            f"{path}: {key} is {short(value)}: {reason}",
            hint="merge it with PEFT's merge_and_unload and give the merged folder as the base",
        )


def initialisation_of(path: Path, raw: Mapping[str, Any], converted: bool) -> str | bool:
    """`init_lora_weights`; `AdapterKindError` for one that altered the base, unless it was `converted` since."""
    value = raw.get("init_lora_weights", True)
    if value is None or isinstance(value, bool):
        return bool(value)
    if isinstance(value, str) and value.lower() in _KEEP_BASE:
        return value
    if isinstance(value, str) and value.lower().startswith(_ALTER_BASE):
        if converted:
            return value
        raise AdapterKindError(
            f"{path}: init_lora_weights is {value}, which changed the base's weights before training: added to the "
            "plain base the adapter would be wrong",
            hint="convert it first: pissa_convert: true in LLaMA-Factory, or path_initial_model_for_weight_conversion "
            "in PEFT's save_pretrained",
        )
    raise AdapterKindError(f"{path}: init_lora_weights is {short(value)}, an initialisation that is not known")


def short(value: Any) -> str:
    """A value of the configuration for a message."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
