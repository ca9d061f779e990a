"""A GGUF of a few kilobytes that a real Ollama loads and runs: random weights, a token for every byte.

It says nothing sensible; it lets the server render and tokenise a prompt without the time that a real model takes.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from conch_ollama.tokenizers.byte_level import BYTE_CHARACTERS
from tests.parts.scripted_gguf import describe, layer_shapes

WIDTH, HEADS, FEED = 32, 2, 64


def write_tiny_gguf(path: Path, architecture: str = "llama") -> Path:
    """`architecture`: llama or qwen3. The server takes it for the model's family."""
    chance = np.random.default_rng(1)
    tokens = [*BYTE_CHARACTERS, "he", "<s>", "</s>"]
    writer = gguf.GGUFWriter(str(path), architecture)
    sizes = {"width": WIDTH, "heads": HEADS, "feed": FEED}
    describe(writer, "tiny", **sizes, vocabulary=len(tokens), context_length=8192)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([*[gguf.TokenType.NORMAL] * (len(tokens) - 2), *[gguf.TokenType.CONTROL] * 2])
    writer.add_token_merges(["h e"])
    writer.add_bos_token_id(len(tokens) - 2)
    writer.add_eos_token_id(len(tokens) - 1)
    writer.add_add_bos_token(False)
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (len(tokens), WIDTH), "output_norm.weight": (WIDTH,)}
    shapes |= {"output.weight": (len(tokens), WIDTH)}
    shapes |= {f"blk.0.{name}": shape for name, shape in layer_shapes(architecture, **sizes).items()}
    for name, shape in shapes.items():
        writer.add_tensor(name, chance.normal(0, 0.05, shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
