"""Golden files: what the reference converter makes of a checkpoint. Metadata in full, long arrays and tensors by hash.

Run as a program it rewrites them: python -m tests_reference.golden_files [NAME ...]
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from conch_ollama.formats.gguf_reader import GGUFFile
from tests.architectures.checkpoints import CHECKPOINTS, Checkpoint
from tests_reference.oracle import convert, real_tokenizer

FOLDER = Path(__file__).parent / "golden"
LONGEST_ARRAY = 16


def golden_path(name: str) -> Path:
    """Where a checkpoint's golden file lies."""
    return FOLDER / f"{name}.json"


def describe(path: Path) -> dict[str, Any]:
    """Metadata and tensors of a GGUF, as a golden file holds them; a float32 as the shortest decimal that is it."""
    with GGUFFile(path) as file:
        metadata = {key: _value(value.type.name, value.items, value.data) for key, value in file.metadata.items()}
        tensors = {
            name: {
                "type": tensor.dtype,
                "shape": list(tensor.shape),
                "sha256": hashlib.sha256(file.read_raw(name, 0, tensor.rows).tobytes()).hexdigest(),
            }
            for name, tensor in file.tensors.items()
        }
    return {"metadata": dict(sorted(metadata.items())), "tensors": dict(sorted(tensors.items()))}


def _value(kind: str, items: Any, data: Any) -> dict[str, Any]:
    if items is None:
        return {"type": kind, "value": _plain(data)}
    listed = [_plain(entry) for entry in data]
    if len(listed) <= LONGEST_ARRAY:
        return {"type": f"{items.name}[]", "value": listed}
    digest = hashlib.sha256("\0".join(map(str, listed)).encode("utf-8", "surrogatepass")).hexdigest()
    return {"type": f"{items.name}[]", "length": len(listed), "sha256": digest}


def _plain(entry: Any) -> Any:
    plain = entry.item() if hasattr(entry, "item") else entry
    return float(str(np.float32(plain))) if isinstance(plain, float) else plain


def regenerate(checkpoint: Checkpoint, folder: Path) -> dict[str, Any]:
    """Write the checkpoint with its tokenizer into `folder`, convert it with the oracle, describe the result."""
    model = checkpoint.write(folder / checkpoint.name)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(real_tokenizer(checkpoint.tokenizer) / file, model / file)
    return describe(convert(model, outtype="f32"))


def _lines(found: dict[str, Any]) -> str:
    """JSON with a line for each entry, so that a difference is a line."""
    sections = []
    for section, entries in found.items():
        lines = [f"  {json.dumps(key)}: {json.dumps(entry, ensure_ascii=False)}" for key, entry in entries.items()]
        sections.append(f" {json.dumps(section)}: {{\n" + ",\n".join(lines) + "\n }")
    return "{\n" + ",\n".join(sections) + "\n}\n"


def main(names: list[str]) -> None:
    """Rewrite the golden files of the named checkpoints, or of all."""
    FOLDER.mkdir(exist_ok=True)
    for name in names or CHECKPOINTS:
        with tempfile.TemporaryDirectory() as folder:
            found = regenerate(CHECKPOINTS[name], Path(folder))
        golden_path(name).write_text(_lines(found), encoding="utf-8")
        sys.stderr.write(f"{name}: {len(found['metadata'])} keys, {len(found['tensors'])} tensors\n")


if __name__ == "__main__":
    main(sys.argv[1:])
