"""What the Trainer's model card (README.md) says of a training: data sets and a few hyper-parameters.

LLaMA-Factory writes `training_args.yaml` from its web page only; a run from the command line leaves no more than this.
Form: `TrainingSummary.to_model_card` of transformers' modelcard.py.
"""

from __future__ import annotations

import re
from pathlib import Path

_DATA = re.compile(
    r"^This model (?:is a fine-tuned version of \S+|was trained from scratch) on (the .+?) datasets?\.", re.MULTILINE
)
_LINE = re.compile(r"^- (\w+): (.+)$", re.MULTILINE)

#: The card's words, and LLaMA-Factory's for the same.
_OPTIONS = {
    "learning_rate": "learning_rate",
    "lr_scheduler_type": "lr_scheduler_type",
    "num_epochs": "num_train_epochs",
    "seed": "seed",
}


def read_training_card(folder: Path) -> dict[str, str]:
    """`dataset` (names, separated by commas) and options by LLaMA-Factory's names; empty without such a card."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    found: dict[str, str] = {}
    data = _DATA.search(text)
    if data:
        names = re.split(r", the | and the ", data[1].removeprefix("the "))
        found["dataset"] = ",".join(name for name in names if name != "None")
    _, _, options = text.partition("### Training hyperparameters")
    for key, value in _LINE.findall(options.partition("\n### ")[0]):
        if key in _OPTIONS:
            found[_OPTIONS[key]] = value.strip()
    return {key: value for key, value in found.items() if value}
