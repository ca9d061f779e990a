"""A GGUF of a few kilobytes that a real Ollama loads and runs: random weights, a token for every byte.

It says nothing sensible; it lets the server render and tokenise a prompt without the time that a real model takes.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

WIDTH, HEADS, FEED = 32, 2, 64


def write_tiny_gguf(path: Path, architecture: str = "llama") -> Path:
    """`architecture`: llama or qwen3. The server takes it for the model's family."""
    chance = np.random.default_rng(1)
    tokens = [*_byte_tokens(), "he", "<s>", "</s>"]
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_name("tiny")
    writer.add_context_length(8192)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_key_length(WIDTH // HEADS)
    writer.add_value_length(WIDTH // HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([*[gguf.TokenType.NORMAL] * (len(tokens) - 2), *[gguf.TokenType.CONTROL] * 2])
    writer.add_token_merges(["h e"])
    writer.add_bos_token_id(len(tokens) - 2)
    writer.add_eos_token_id(len(tokens) - 1)
    writer.add_add_bos_token(False)
    shapes = {"token_embd.weight": (len(tokens), WIDTH), "output_norm.weight": (WIDTH,)}
    shapes |= {
        "output.weight": (len(tokens), WIDTH),
        "blk.0.attn_norm.weight": (WIDTH,),
        "blk.0.ffn_norm.weight": (WIDTH,),
    }
    shapes |= {f"blk.0.attn_{part}.weight": (WIDTH, WIDTH) for part in ("q", "k", "v", "output")}
    shapes |= {"blk.0.ffn_gate.weight": (FEED, WIDTH), "blk.0.ffn_up.weight": (FEED, WIDTH)}
    shapes |= {"blk.0.ffn_down.weight": (WIDTH, FEED)}
    if architecture == "qwen3":
        shapes |= {f"blk.0.attn_{part}_norm.weight": (WIDTH // HEADS,) for part in ("q", "k")}
    for name, shape in shapes.items():
        writer.add_tensor(name, chance.normal(0, 0.05, shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _byte_tokens() -> list[str]:
    """The characters that byte-level BPE writes for the 256 bytes (GPT-2's table)."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = iter(range(256, 512))
    return [chr(byte) if byte in shown else chr(next(hidden)) for byte in range(256)]
