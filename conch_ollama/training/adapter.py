"""A trained adapter made fit to be given away: matrices in bfloat16, no path of the machine it was trained on.

Copies `adapter_config.json`, the matrices and the training configuration; leaves out tokenizer, optimiser and logs.
Needs no torch.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from conch_ollama.errors import BadConfigError, BadFileError, NotFoundError, OutputExistsError
from conch_ollama.formats.floats import bf16_from_float32
from conch_ollama.formats.safetensors import SafetensorsFile, SafetensorsWriter
from conch_ollama.formats.tensors import TensorInfo

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
TRAINING = "training_args.yaml"

#: A path that starts at a root: /home/…, C:\…, \\server\…, ~/…
_LOCAL_PATH = re.compile(r"""(?:^|[\s"':=])(?:/[\w.~-]+/|~/|[A-Za-z]:[\\/]|\\\\)""", re.MULTILINE)


def release_adapter(run: Path, folder: Path, *, base_name: str, training: Path | None = None) -> Path:
    """Write the adapter of LLaMA-Factory's output `run` into the new `folder`; returns `folder`.

    `base_name` is the base's name on the hub, kept in place of the folder that was trained on. `training` is the YAML
    file of the run, kept as `training_args.yaml`, the name LLaMA-Factory's web page gives it. bfloat16 holds a matrix
    to 8 bits of mantissa: half a per cent of a change that is itself small against the weight.
    """
    config = _config(run)
    config["base_model_name_or_path"] = base_name
    for key, value in config.items():
        if isinstance(value, list):
            config[key] = sorted(value)  # PEFT writes a set, in another order every time
    files = {CONFIG: json.dumps(config, ensure_ascii=False, indent=2, sort_keys=True) + "\n"}
    if training is not None:
        files[TRAINING] = _training(training, base_name)
    for name, text in files.items():
        _refuse_local_paths(name, text)
    if folder.exists() and any(folder.iterdir()):
        raise OutputExistsError(f"{folder} is not empty", hint="name a new folder, or delete the old adapter")
    with SafetensorsFile(run / WEIGHTS) as source:
        folder.mkdir(parents=True, exist_ok=True)
        _write_bf16(source, folder / WEIGHTS)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    return folder


def _write_bf16(source: SafetensorsFile, path: Path) -> None:
    tensors = [TensorInfo(name, "BF16", source.tensors[name].shape) for name in sorted(source.tensors)]
    with SafetensorsWriter(path, tensors, {"format": "pt"}) as writer:
        for info in tensors:
            writer.write(bf16_from_float32(source.read(info.name)).astype("<u2").tobytes())


def _config(run: Path) -> dict[str, object]:
    path = run / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise NotFoundError(f"there is no {path}", hint="name the output folder of a LoRA run") from err
    except ValueError as err:
        raise BadConfigError(f"{path} is no JSON: {err}") from err
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise BadConfigError(f"{path} is no configuration of a LoRA adapter")
    return config


def _training(path: Path, base_name: str) -> str:
    """The YAML's own lines, comments left out, with the base's name."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as err:
        raise NotFoundError(f"there is no {path}") from err
    kept = [line.rstrip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    named = [f"model_name_or_path: {base_name}" if line.startswith("model_name_or_path:") else line for line in kept]
    return "\n".join(named) + "\n"


def _refuse_local_paths(name: str, text: str) -> None:
    found = _LOCAL_PATH.search(text)
    if found:
        line = text[text.rfind("\n", 0, found.end() - 1) + 1 :].splitlines()[0]
        raise BadFileError(
            f"{name} names a local path: {line.strip()}", hint="train with paths relative to the repository"
        )
