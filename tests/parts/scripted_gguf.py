"""A GGUF that says one exact text, whatever it is asked: for tool calls, thoughts and JSON, which no small model does.

Attention and feed-forward are zero, so the next token hangs on the last one alone. The vocabulary holds the answer cut
into pieces, no two alike and none that a prompt can be made of: every other token leads to the first piece, each piece
to the next, the last to the end of the turn. The margin is wide: temperature and penalties change nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from conch_ollama.tokenizers.byte_level import BYTE_CHARACTERS
from tests.parts.tiny import CHATML

WIDTH, HEADS, FEED = 128, 2, 32
#: What a family's prompt and answers are marked with; single tokens where the chat template has them.
_SPECIAL = re.compile(r"<[|｜][^<>|｜\s]+[|｜]>|\[/?[A-Z_]{3,}\]|</?s>|<(?:bos|eos|pad|start_of_turn|end_of_turn)>")
#: Marks that a server shows, since they are no control tokens in the models that have them.
_SHOWN = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<|python_tag|>")
_ENDS = ("<|im_end|>", "<|eot_id|>", "<｜end▁of▁sentence｜>", "<end_of_turn>", "<|end|>", "</s>", "<|endoftext|>")


def scripted_gguf(
    path: Path,
    answer: str,
    *,
    chat_template: str = CHATML,
    architecture: str = "llama",
    extra_tokens: Sequence[str] = (),
    bos_token: str = "<s>",
    add_bos: bool = False,
    context_length: int = 32768,
    ends: bool = True,
) -> Path:
    """Writes the GGUF at `path` (some hundred kilobytes) and returns it.

    `architecture`: llama, qwen2 or qwen3. `extra_tokens`: further control tokens; those of the chat template's text are
    found. The answer ends with the template's own end of turn (`<|im_end|>`, `<|eot_id|>` …, else `</s>`); without
    `ends` it never does, its last piece comes over and over.
    """
    specials = _specials(chat_template, extra_tokens, bos_token)
    shown = [mark for mark in _SHOWN if mark not in specials]
    base = [*BYTE_CHARACTERS, "ÿÿ", *specials, *shown]
    script = [_bytes_as_text(piece) for piece in pieces(answer, [*_SHOWN, *specials])]
    tokens = [*base, *(piece for piece in script if piece not in BYTE_CHARACTERS)]
    kinds = [gguf.TokenType.NORMAL] * len(tokens)
    for at, token in enumerate(tokens):
        if token in specials:
            kinds[at] = gguf.TokenType.CONTROL
        elif token in shown:
            kinds[at] = gguf.TokenType.USER_DEFINED
    end = next(token for token in _ENDS if token in specials)

    writer = gguf.GGUFWriter(str(path), architecture)
    sizes = {"width": WIDTH, "heads": HEADS, "feed": FEED}
    describe(writer, "scripted", **sizes, vocabulary=len(tokens), context_length=context_length)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(["ÿ ÿ"])  # there has to be one; no text holds these two bytes
    writer.add_bos_token_id(tokens.index(bos_token))
    writer.add_eos_token_id(tokens.index(end))
    writer.add_add_bos_token(add_bos)
    writer.add_chat_template(chat_template)
    chain = [tokens.index(piece) for piece in script]
    if ends:
        chain.append(tokens.index(end))
    for name, values in _weights(len(tokens), chain, architecture, loops=not ends).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def pieces(answer: str, taken: Sequence[str] = _SHOWN) -> list[str]:
    """The answer in short pieces, no two alike (after LZ78) and none of them in `taken`.

    A piece has two bytes at least, since a prompt may end in any single one; only a text of one byte is one piece."""
    known = {"", *taken}
    found: list[str] = []
    piece = ""
    for character in answer:
        piece += character
        if piece not in known and len(piece.encode("utf-8")) > 1:
            known.add(piece)
            found.append(piece)
            piece = ""
    while found and (len(piece.encode("utf-8")) == 1 or piece in {*taken, *found}):
        piece = found.pop() + piece  # what is left at the end is no new piece: longer, until it is
    return [*found, piece] if piece else found


def _specials(chat_template: str, extra_tokens: Sequence[str], bos_token: str) -> list[str]:
    found = dict.fromkeys([*_SPECIAL.findall(chat_template), *extra_tokens, bos_token, "</s>"])
    return [token for token in found if token not in _SHOWN or token in extra_tokens]


def describe(
    writer: gguf.GGUFWriter, name: str, *, width: int, heads: int, feed: int, vocabulary: int, context_length: int
) -> None:
    """The metadata of a model with one layer, all its tensors F32."""
    writer.add_name(name)
    writer.add_context_length(context_length)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(feed)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_key_length(width // heads)
    writer.add_value_length(width // heads)
    writer.add_rope_dimension_count(width // heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_vocab_size(vocabulary)


def layer_shapes(
    architecture: str, *, width: int, heads: int, feed: int, key_heads: int = 0
) -> dict[str, tuple[int, ...]]:
    """The tensors of one layer, without `blk.N.`. `key_heads`: 0 for as many as `heads`."""
    keys = width // heads * (key_heads or heads)
    rows = {"q": width, "k": keys, "v": keys}
    shapes: dict[str, tuple[int, ...]] = {f"{part}_norm.weight": (width,) for part in ("attn", "ffn")}
    shapes |= {f"attn_{part}.weight": (count, width) for part, count in {**rows, "output": width}.items()}
    shapes |= {"ffn_gate.weight": (feed, width), "ffn_up.weight": (feed, width), "ffn_down.weight": (width, feed)}
    if architecture == "qwen2":
        shapes |= {f"attn_{part}.bias": (count,) for part, count in rows.items()}
    if architecture == "qwen3":
        shapes |= {f"attn_{part}_norm.weight": (width // heads,) for part in ("q", "k")}
    return shapes


def _weights(
    vocabulary: int, chain: Sequence[int], architecture: str, *, loops: bool
) -> dict[str, NDArray[np.float32]]:
    """`chain`: what is said, token by token; `loops`: the last one leads to itself.

    A state of the script is a row of random signs, all nearly orthogonal.
    """
    states = np.random.default_rng(1).choice(np.array([-1, 1], np.float32), (len(chain), WIDTH))
    embedding = np.repeat(states[:1], vocabulary, axis=0)
    head = np.zeros((vocabulary, WIDTH), np.float32)
    for state, token in enumerate(chain):
        head[token] = states[state]
        if state + 1 < len(chain) or loops:
            embedding[token] = states[min(state + 1, len(chain) - 1)]
    made = {"token_embd.weight": embedding, "output_norm.weight": np.ones(WIDTH, np.float32), "output.weight": head}
    shapes = layer_shapes(architecture, width=WIDTH, heads=HEADS, feed=FEED)
    layer = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    layer |= {f"{part}_norm.weight": np.ones(WIDTH, np.float32) for part in ("attn", "ffn")}
    return made | {f"blk.0.{name}": values for name, values in layer.items()}


def _bytes_as_text(text: str) -> str:
    return "".join(BYTE_CHARACTERS[byte] for byte in text.encode("utf-8"))
