"""LoRA adapters as GGUF files for a scripted model: one begins its text further on, one bends all its states."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from conch_ollama.formats.gguf_reader import GGUFFile


def skipping_adapter(path: Path, base: Path, skip: int) -> Path:
    """Writes an adapter of rank 1 on the output layer: instead of its first piece `base` says piece number `skip`."""
    with GGUFFile(base) as file:
        states, head = file.read_rows("token_embd.weight"), file.read_rows("output.weight")
        architecture = str(file.metadata["general.architecture"].data)
    beginning = states[0]
    token = int(np.argmax(head @ beginning))
    for _ in range(skip):
        token = int(np.argmax(head @ states[token]))
    b = np.zeros((head.shape[0], 1), np.float32)
    b[token] = 1.5  # more than the base at the beginning, less anywhere else
    return _write(path, architecture, {"output.weight": (beginning[None, :].copy(), b)})


def bending_adapter(path: Path, base: Path) -> Path:
    """Writes an adapter with random weights on the feed-forward part."""
    with GGUFFile(base) as file:
        shapes = {name: file.tensors[name].shape for name in file.tensors if ".ffn_" in name and "norm" not in name}
        architecture = str(file.metadata["general.architecture"].data)
    rng = np.random.default_rng(0)
    pairs = {
        name: (rng.normal(size=(4, columns)).astype(np.float32), rng.normal(size=(rows, 4)).astype(np.float32))
        for name, (rows, columns) in shapes.items()
    }
    return _write(path, architecture, pairs)


def _write(path: Path, architecture: str, pairs: Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]]) -> Path:
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 1.0)
    for name, (a, b) in pairs.items():
        writer.add_tensor(f"{name}.lora_a", a)
        writer.add_tensor(f"{name}.lora_b", b)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
