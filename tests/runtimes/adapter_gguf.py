"""LoRA adapters as GGUF files that make a scripted model begin its text further on."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

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
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 1.0)
    writer.add_tensor("output.weight.lora_a", beginning[None, :].copy())
    writer.add_tensor("output.weight.lora_b", b)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
