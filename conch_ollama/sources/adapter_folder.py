"""Where an adapter lies: a PEFT folder, a LLaMA-Factory run with its checkpoints, a converted PiSSA adapter.

Finds files only; reads none but what is known of the training. `training_args.bin` is a pickle and is never opened.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conch_ollama.errors import AdapterKindError, BadConfigError, NotFoundError
from conch_ollama.sources.adapter_board import read_board
from conch_ollama.sources.adapter_card import read_training_card
from conch_ollama.sources.adapter_config import CONFIG_FILE
from conch_ollama.sources.hub_cache import is_cache_folder, snapshot_in

#: In this order, as PEFT looks for them.
WEIGHT_FILES = ("adapter_model.safetensors", "adapter_model.bin")
TRAINING_FILE = "training_args.yaml"
CONVERTED = "pissa_converted"

#: What a tokenizer and its chat template consist of.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
)
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True, slots=True)
class AdapterFolder:
    """`folder` holds the adapter; `run` is the training run it belongs to, the same folder if it is not part of one.

    `converted`: it is the conversion of a PiSSA adapter into a plain one. `notes`: what was passed over in looking.
    """

    folder: Path
    run: Path
    weights: Path
    converted: bool
    notes: tuple[str, ...]


def find_adapter(path: Path) -> AdapterFolder:
    """The adapter at `path`: the folder's own, else its newest `checkpoint-*` by number; a hub cache's snapshot.

    A run whose adapter was converted from PiSSA is represented by its `pissa_converted` folder. Raises `NotFoundError`,
    which says what is missing, and `AdapterKindError` for LLaMA-Factory's backups of an unconverted PiSSA adapter.
    """
    if not path.exists():
        raise NotFoundError(f"adapter {path} is not there", hint="check the path")
    if not path.is_dir():
        raise NotFoundError(f"adapter {path} is a file", hint="give the folder that holds adapter_config.json")
    path = (snapshot_in(path) if is_cache_folder(path) else path).resolve()
    _refuse_pissa_parts(path)
    if _is_complete(path / CONVERTED):
        return _found(path / CONVERTED, path)
    if _is_complete(path):
        run = path.parent if _CHECKPOINT.fullmatch(path.name) or path.name == CONVERTED else path
        return _found(path, run)
    numbered = [(int(match[1]), folder) for folder in path.iterdir() if (match := _CHECKPOINT.fullmatch(folder.name))]
    checkpoints = [folder for _, folder in sorted(numbered, reverse=True)]
    notes: list[str] = []
    for folder in checkpoints:
        if _is_complete(folder):
            return _found(folder, path, (*notes, f"{path} has no final adapter: {folder.name} is used"))
        notes.append(f"{folder} is passed over: {_missing(folder)}")
    where = f", nor has any of its {len(checkpoints)} checkpoints" if checkpoints else ""
    raise NotFoundError(
        f"{path} holds no adapter: {_missing(path)}{where}",
        hint="give a PEFT folder, a LLaMA-Factory run, or one of its checkpoint-* folders",
    )


def read_training(found: AdapterFolder) -> dict[str, Any] | None:
    """LLaMA-Factory's `training_args.yaml` of the adapter or its run, else what its web page's form or the model card
    says; None for none of them.

    Raises `BadConfigError` for one that is not YAML, or not a table.
    """
    path = next((path for folder in (found.folder, found.run) if (path := folder / TRAINING_FILE).is_file()), None)
    if path is None:
        places = dict.fromkeys((found.folder, found.run))
        return next(
            (known for read in (read_board, read_training_card) for place in places if (known := read(place))), None
        )
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as err:
        raise BadConfigError(f"{path} is no YAML: {err}", hint="mend the file or take it away") from err
    except OSError as err:
        raise BadConfigError(f"{path} can't be read: {err.strerror}") from err
    if not isinstance(content, dict):
        raise BadConfigError(f"{path} holds no table of training options", hint="mend the file or take it away")
    return {str(key): value for key, value in content.items()}


def tokenizer_files(found: AdapterFolder) -> tuple[Path, ...]:
    """Tokenizer and chat template files kept with the adapter, or else with its run; they all lie in one folder."""
    for folder in (found.folder, found.run):
        files = tuple(path for name in TOKENIZER_FILES if (path := folder / name).is_file())
        if files:
            return files
    return ()


def _found(folder: Path, run: Path, notes: tuple[str, ...] = ()) -> AdapterFolder:
    weights = next(path for name in WEIGHT_FILES if (path := folder / name).is_file())
    return AdapterFolder(folder, run, weights, folder.name == CONVERTED, notes)


def _is_complete(folder: Path) -> bool:
    return (folder / CONFIG_FILE).is_file() and any((folder / name).is_file() for name in WEIGHT_FILES)


def _missing(folder: Path) -> str:
    if not (folder / CONFIG_FILE).is_file():
        return f"no {CONFIG_FILE}"
    return f"neither {WEIGHT_FILES[0]} nor {WEIGHT_FILES[1]}"


def _refuse_pissa_parts(path: Path) -> None:
    # LLaMA-Factory saves both with init_lora_weights: true, though they only fit the base that PiSSA had changed.
    if path.name in ("pissa_backup", "pissa_init") and (path.parent / CONVERTED).is_dir():
        raise AdapterKindError(
            f"{path} fits only the base that PiSSA had changed before training",
            hint=f"use {path.parent / CONVERTED}",
        )
