"""A GGUF as large as a model of 1.5 billion parameters in q8_0 that takes no disk: all its weights are zero, and what
comes after the header is one hole.

It says one token on and on, whatever it is asked; it needs the memory and the time of a real one.
"""

from __future__ import annotations

import math
from pathlib import Path

import gguf
import numpy as np

from conch_ollama.tokenizers.byte_level import BYTE_CHARACTERS
from tests.parts.scripted_gguf import layer_shapes
from tests.parts.tiny import CHATML

#: Of Qwen2.5-1.5B.
WIDTH, FEED, LAYERS, HEADS, KEY_HEADS, VOCABULARY = 1536, 8960, 28, 12, 2, 151_936


def large_gguf(path: Path) -> Path:
    """Writes it at `path`, which it returns."""
    writer = gguf.GGUFWriter(str(path), "qwen2")
    writer.add_name(path.stem)
    writer.add_context_length(32768)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    _describe_tokens(writer)
    size = 0
    for name, shape in _shapes().items():
        # Vectors stay in float32; a block of q8_0 holds 32 values in 34 bytes.
        kind, item = (gguf.GGMLQuantizationType.F32, np.dtype(np.float32))
        if len(shape) == 2:
            kind, item, shape = gguf.GGMLQuantizationType.Q8_0, np.dtype(np.uint8), (shape[0], shape[1] // 32 * 34)
        count = math.prod(shape) * item.itemsize
        writer.add_tensor_info(name, shape, item, count, raw_dtype=kind)
        size += gguf.GGUFWriter.ggml_pad(count, gguf.GGUF_DEFAULT_ALIGNMENT)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with path.open("r+b") as file:
        begin = gguf.GGUFWriter.ggml_pad(path.stat().st_size, gguf.GGUF_DEFAULT_ALIGNMENT)
        file.truncate(begin + size)
    return path


def _describe_tokens(writer: gguf.GGUFWriter) -> None:
    tokens = [*BYTE_CHARACTERS, "ÿÿ", "<|im_start|>", "<|im_end|>"]
    kinds = [gguf.TokenType.NORMAL] * len(tokens)
    kinds[-2:] = [gguf.TokenType.CONTROL] * 2
    end = tokens.index("<|im_end|>")
    missing = VOCABULARY - len(tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([*tokens, *(f"[{number}]" for number in range(missing))])
    writer.add_token_types([*kinds, *([gguf.TokenType.UNUSED] * missing)])
    writer.add_token_merges(["ÿ ÿ"])
    writer.add_eos_token_id(end)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHATML)


def _shapes() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {"token_embd.weight": (VOCABULARY, WIDTH), "output_norm.weight": (WIDTH,)}
    shapes = layer_shapes("qwen2", width=WIDTH, heads=HEADS, feed=FEED, key_heads=KEY_HEADS)
    for layer in range(LAYERS):
        found |= {f"blk.{layer}.{name}": shape for name, shape in shapes.items()}
    return found
