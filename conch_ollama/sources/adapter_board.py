"""What LLaMA-Factory's web page leaves of a training beside `training_args.yaml`: the state of its form.

`llamaboard_config.yaml` is read only where the other file is missing. Names and defaults: webui/runner.py of
LLaMA-Factory 0.9.5, `_parse_train_args`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

BOARD_FILE = "llamaboard_config.yaml"

#: The page's fields, and the training's options.
_OPTIONS = {
    "top.finetuning_type": "finetuning_type",
    "top.template": "template",
    "train.batch_size": "per_device_train_batch_size",
    "train.cutoff_len": "cutoff_len",
    "train.dataset": "dataset",
    "train.enable_thinking": "enable_thinking",
    "train.learning_rate": "learning_rate",
    "train.lora_alpha": "lora_alpha",
    "train.lora_rank": "lora_rank",
    "train.lr_scheduler_type": "lr_scheduler_type",
    "train.mask_history": "mask_history",
    "train.num_train_epochs": "num_train_epochs",
}
_STAGES = {
    "Supervised Fine-Tuning": "sft",
    "Reward Modeling": "rm",
    "PPO": "ppo",
    "DPO": "dpo",
    "KTO": "kto",
    "Pre-Training": "pt",
}


def read_board(folder: Path) -> dict[str, Any]:
    """Options by LLaMA-Factory's names; empty without the file, or for one that is not what the page writes.

    Extra arguments, which the page holds as JSON, win over its fields, as they do there.
    """
    import yaml

    try:
        content = yaml.safe_load((folder / BOARD_FILE).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    found = {option: content[field] for field, option in _OPTIONS.items() if content.get(field) not in (None, "", [])}
    if isinstance(found.get("dataset"), list):
        found["dataset"] = ",".join(map(str, found["dataset"]))
    stage = _STAGES.get(str(content.get("train.training_stage")))
    if stage:
        found["stage"] = stage
    return found | _extra(content.get("train.extra_args"))


def _extra(text: object) -> dict[str, Any]:
    try:
        found = json.loads(text) if isinstance(text, str) else {}
    except (ValueError, RecursionError):
        return {}
    return {str(key): value for key, value in found.items()} if isinstance(found, dict) else {}
