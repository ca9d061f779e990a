"""Recipes by name ("q4_K_M"), and the type that a recipe gives to every tensor of a model, as llama.cpp does.

The rules of the mixes are in `mixes`. Here: names and aliases, which tensors stay F32, and fall-backs by shape.
Source: llama.cpp, src/llama-quant.cpp (tensor_allows_quantization, llama_tensor_get_type, tensor_type_fallback).
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from conch_ollama.errors import UnknownTypeError
from conch_ollama.formats.file_types import FILE_TYPE_NAMES
from conch_ollama.formats.metadata import Metadata
from conch_ollama.quantize.mixes import DEFAULT_TYPES, Mix, ModelShape
from conch_ollama.quantize.types import GGML, block_elements, row_bytes

_RECIPES = (
    *("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1"),
    *("q2_K", "q3_K_S", "q3_K_M", "q3_K_L", "q4_K_S", "q4_K_M", "q5_K_S", "q5_K_M", "q6_K"),
)
_NUMBERS = {name: number for number, name in FILE_TYPE_NAMES.items()}
#: `general.file_type` of every recipe.
FILE_TYPES: dict[str, int] = {name: _NUMBERS[name.upper()] for name in _RECIPES}

ALIASES: dict[str, str] = {
    "q2": "q2_K",
    "q3": "q3_K_M",
    "q3_k": "q3_K_M",
    "q4": "q4_K_M",
    "q4_k": "q4_K_M",
    "q5": "q5_K_M",
    "q5_k": "q5_K_M",
    "q6": "q6_K",
    "q8": "q8_0",
}

_KNOWN = {name.lower(): name for name in FILE_TYPES} | ALIASES

#: Parts of names of two-dimensional tensors that are never quantised: small, or sensitive. All other models' too, so
#: that a model of an architecture to come is not forgotten.
_KEPT = (
    *("_norm.weight", "ffn_gate_inp.weight", "altup", "laurel", "per_layer_model_proj", "ssm_conv1d"),
    *("shortconv.conv.weight", "attn_rel_b.weight", ".position_embd", ".rel_pos", ".patch_embd", ".patch_merger"),
    *("time_mix_first.weight", "time_mix_w0.weight", "time_mix_w1.weight", "time_mix_w2.weight"),
    *("time_mix_v0.weight", "time_mix_v1.weight", "time_mix_v2.weight", "time_mix_a0.weight", "time_mix_a1.weight"),
    *("time_mix_a2.weight", "time_mix_g1.weight", "time_mix_g2.weight", "time_mix_decay_w1.weight"),
    *("time_mix_decay_w2.weight", "time_mix_lerp_fused.weight", "ffn_gate_tid2eid.weight"),
    *("indexer.k_proj.weight", "indexer.q_proj.weight", "sam.pos_embd", "sam.neck.", "sam.net_"),
    *("a.rvq.codebook", "mm.a.code_embd"),
)
_KEPT_WHOLE = ("position_embd.weight", "token_types.weight")

#: What takes the place of a type of 256-element blocks where they don't fit.
_FALL_BACKS = {"Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}


@dataclass(frozen=True, slots=True)
class TypeChoice:
    """The type of one tensor; `wanted` is what the recipe would have taken, `reason` says in words why it could not."""

    name: str
    type: int
    wanted: int
    reason: str | None = None


def normalise(name: str) -> str:
    """A recipe's own spelling from its name or alias in any case; `UnknownTypeError` lists the known ones."""
    known = _KNOWN.get(name.strip().lower().replace("-", "_"))
    if known is None:
        near = difflib.get_close_matches(name.strip().lower(), _KNOWN, n=1)
        nearest = f"did you mean {_KNOWN[near[0]]}? " if near else ""
        raise UnknownTypeError(f"unknown quantisation {name!r}", hint=f"{nearest}known: {', '.join(FILE_TYPES)}")
    return known


def choose_types(
    recipe: str, tensors: Sequence[tuple[str, tuple[int, ...]]], *, metadata: Metadata
) -> list[TypeChoice]:
    """The type of every tensor of a model, in the order given.

    `tensors` are all tensors of the GGUF, by their names in it, with shapes in row-major order (columns last).
    `metadata` holds `general.architecture` and the `{architecture}.*` keys. Raises `UnknownTypeError` for the recipe,
    `BadConfigError` for metadata without the keys that the mix depends on.
    """
    recipe = normalise(recipe)
    mix = Mix(recipe, [name for name, _ in tensors], ModelShape.of(metadata))
    choices: dict[str, TypeChoice] = {}
    # The mix counts tensors as it sees them, so it must see them in llama.cpp's order.
    for name, shape in sorted(tensors, key=lambda tensor: _position(tensor[0])):
        choices[name] = _choose(mix, name, shape) if _quantised(name, shape) else TypeChoice(name, _F32, _F32)
    return [choices[name] for name, _ in tensors]


def bits_per_weight(choices: Sequence[TypeChoice], shapes: Sequence[tuple[int, ...]]) -> float:
    """Bits of the tensors' data for each element of the whole model, without header and padding."""
    sizes = [
        row_bytes(choice.type, shape[-1]) * math.prod(shape[:-1]) for choice, shape in zip(choices, shapes, strict=True)
    ]
    return 8 * sum(sizes) / sum(math.prod(shape) for shape in shapes)


_F32 = GGML["F32"]


def _position(name: str) -> tuple[int, bytes]:
    """Order of llama_model_loader's weight_name_comparer: by layer, those of no layer first, then by the bytes."""
    layer = re.match(r"blk\.(\d+)", name)
    return (int(layer[1]) if layer else -1, name.encode())


def _quantised(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a tensor takes part at all. ggml counts no dimensions of length one at the end: a single row is 1-D."""
    if math.prod(shape[:-1]) < 2 or not name.endswith("weight"):
        return False
    return name not in _KEPT_WHOLE and not any(part in name for part in _KEPT)


def _choose(mix: Mix, name: str, shape: tuple[int, ...]) -> TypeChoice:
    columns = shape[-1]
    default = DEFAULT_TYPES[mix.recipe]
    if default in ("F32", "F16", "BF16"):
        return TypeChoice(name, GGML[default], GGML[default])
    wanted = mix.type_of(name)
    given = wanted
    if mix.is_output(name) and columns % block_elements(GGML[default]):
        given = "Q8_0"  # whatever the recipe wants for the output
    elif columns % block_elements(GGML[wanted]):
        given = _FALL_BACKS.get(wanted, wanted)
    if columns % block_elements(GGML[given]):
        given = "F16"
    return TypeChoice(name, GGML[given], GGML[wanted], _reason(columns, wanted, given))


def _reason(columns: int, wanted: str, given: str) -> str | None:
    if wanted == given:
        return None
    return f"{columns} columns are no multiple of {block_elements(GGML[wanted])}: {given} instead of {wanted}"
