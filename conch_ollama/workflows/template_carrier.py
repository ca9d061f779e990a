"""A GGUF of a hundred kilobytes that carries a chat template and its tokens, for llama.cpp to load and render with.

Its weights are zeros and it says nothing: rendering needs no more than a file that loads.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from conch_ollama.formats.ggml_types import GGML_TYPES
from conch_ollama.formats.gguf_writer import GGUFTensorSpec, GGUFWriter
from conch_ollama.formats.metadata import Metadata, ValueType, array, boolean, f32, string, strings, u32
from conch_ollama.tokenizers.byte_level import BYTE_CHARACTERS

TEMPLATE_KEY = "tokenizer.chat_template"
_WIDTH, _FEED, _CONTEXT = 32, 32, 256
_NORMAL, _CONTROL, _UNUSED = 1, 3, 5
_F32 = next(number for number, block in GGML_TYPES.items() if block.name == "F32")


def write_carrier(path: Path, templates: Mapping[str, str], *, bos_token: str = "", eos_token: str = "") -> Path:
    """`templates` by their metadata keys (TEMPLATE_KEY, or TEMPLATE_KEY and a name behind a dot).

    A token that is empty is one that the vocabulary lacks: the template sees an empty text in its place.
    """
    metadata = {**_metadata(bos_token, eos_token), **{key: string(text) for key, text in templates.items()}}
    tensors = _tensors(len(metadata["tokenizer.ggml.tokens"].data))
    with GGUFWriter(path, metadata, tensors) as writer:
        for tensor in tensors:
            writer.write(bytes(tensor.nbytes))
    return path


def _metadata(bos_token: str, eos_token: str) -> Metadata:
    # An unused token renders as nothing. Without an id llama.cpp would take number 11 of such a vocabulary for the BOS.
    tokens, kinds = [*BYTE_CHARACTERS, "<unused>"], [_NORMAL] * 256 + [_UNUSED]
    bos, eos = (_number(text, tokens, kinds) for text in (bos_token, eos_token))
    return {
        "general.architecture": string("llama"),
        "general.name": string("a chat template"),
        "llama.context_length": u32(_CONTEXT),
        "llama.embedding_length": u32(_WIDTH),
        "llama.block_count": u32(1),
        "llama.feed_forward_length": u32(_FEED),
        "llama.attention.head_count": u32(1),
        "llama.attention.layer_norm_rms_epsilon": f32(1e-5),
        "llama.rope.dimension_count": u32(_WIDTH),
        "tokenizer.ggml.model": string("gpt2"),
        "tokenizer.ggml.pre": string("qwen2"),
        "tokenizer.ggml.tokens": strings(tokens),
        "tokenizer.ggml.token_type": array(ValueType.INT32, kinds),
        "tokenizer.ggml.merges": strings(["h e"]),
        "tokenizer.ggml.bos_token_id": u32(bos),
        "tokenizer.ggml.eos_token_id": u32(eos),
        "tokenizer.ggml.add_bos_token": boolean(False),
    }


def _number(text: str, tokens: list[str], kinds: list[int]) -> int:
    """The id of a special token, which joins the vocabulary unless it is in it: llama.cpp takes no text twice."""
    if not text:
        return tokens.index("<unused>")
    if text not in tokens:
        tokens.append(text)
        kinds.append(_CONTROL)
    kinds[tokens.index(text)] = _CONTROL
    return tokens.index(text)


def _tensors(tokens: int) -> list[GGUFTensorSpec]:
    shapes = {"token_embd.weight": (tokens, _WIDTH), "output_norm.weight": (_WIDTH,)}
    shapes |= {f"blk.0.{part}_norm.weight": (_WIDTH,) for part in ("attn", "ffn")}
    shapes |= {f"blk.0.attn_{part}.weight": (_WIDTH, _WIDTH) for part in ("q", "k", "v", "output")}
    shapes |= {f"blk.0.ffn_{part}.weight": (_FEED, _WIDTH) for part in ("gate", "up")}
    shapes["blk.0.ffn_down.weight"] = (_WIDTH, _FEED)
    return [GGUFTensorSpec(name, _F32, shape) for name, shape in shapes.items()]
