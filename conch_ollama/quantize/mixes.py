"""The rules by which llama.cpp's quantiser mixes types: which tensors of which layers get more bits.

Rule for rule llama_tensor_get_type_impl in llama.cpp's src/llama-quant.cpp, without importance matrix, for the recipes
that conch writes; a `Mix` has to be asked in llama.cpp's order of the tensors, because it counts them. No shapes here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from conch_ollama.errors import BadConfigError, TensorError
from conch_ollama.formats.metadata import Metadata

#: The type that a recipe gives to what no rule lifts (llama_ftype_get_default_type).
DEFAULT_TYPES: dict[str, str] = {
    "f32": "F32",
    "f16": "F16",
    "bf16": "BF16",
    "q8_0": "Q8_0",
    "q4_0": "Q4_0",
    "q4_1": "Q4_1",
    "q5_0": "Q5_0",
    "q5_1": "Q5_1",
    "q2_K": "Q2_K",
    "q3_K_S": "Q3_K",
    "q3_K_M": "Q3_K",
    "q3_K_L": "Q3_K",
    "q4_K_S": "Q4_K",
    "q4_K_M": "Q4_K",
    "q5_K_S": "Q5_K",
    "q5_K_M": "Q5_K",
    "q6_K": "Q6_K",
}

#: Architectures of whose models of that many layers llama.cpp thinks as "70B".
_LAYERS_OF_70B = {"llama": 80, "qwen2": 80, "deci": 80, "olmo": 80, "jais2": 68}

#: Categories by a part of the name, the first that fits.
_CATEGORIES = (
    ("attn_qkv.weight", "attn_v"),
    ("attn_kv_b.weight", "attn_v"),
    ("attn_v.weight", "attn_v"),
    ("attn_k.weight", "attn_k"),
    ("attn_q.weight", "other"),
    ("attn_output.weight", "attn_output"),
    ("ffn_up", "other"),
    ("ffn_gate", "other"),
    ("ffn_down", "ffn_down"),
)


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What the mixes depend on: architecture, layers, query heads that share a key-value head, experts."""

    architecture: str
    layers: int
    heads_per_kv: int
    experts: int
    is_70b: bool

    @classmethod
    def of(cls, metadata: Metadata) -> ModelShape:
        """From GGUF metadata. Head counts may be arrays: the first layer's counts, as in llama_hparams::n_gqa."""
        if "general.architecture" not in metadata:
            raise BadConfigError("the metadata have no general.architecture")
        architecture = str(metadata["general.architecture"].data)
        layers = _number(metadata, f"{architecture}.block_count")
        heads = _number(metadata, f"{architecture}.attention.head_count")
        kv_heads = _number(metadata, f"{architecture}.attention.head_count_kv", heads)
        experts = _number(metadata, f"{architecture}.expert_count", 0)
        is_70b = layers == _LAYERS_OF_70B.get(architecture)
        if architecture == "llama":
            is_70b = is_70b and experts != 8 and heads != kv_heads
        return cls(architecture, layers, heads // kv_heads if kv_heads else 0, experts, is_70b)


class Mix:
    """A recipe's types for one model. `type_of` is asked once for each tensor that takes part, in llama.cpp's order."""

    def __init__(self, recipe: str, names: Sequence[str], shape: ModelShape) -> None:
        """`names` are those of all tensors: the rules look at how many there are of a kind, and for an output."""
        self.recipe = recipe
        self._shape = shape
        self._falcon = shape.architecture == "falcon"
        self._tied = "output.weight" not in names
        self._attn_v_count = sum(_category(name) == "attn_v" for name in names)
        self._attn_v_seen = 0
        self._ffn_down_seen = 0

    def is_output(self, name: str) -> bool:
        """Whether a tensor is the output, be it that the token embedding serves as one."""
        return name == "output.weight" or (self._tied and _is_token_embedding(name))

    def type_of(self, name: str) -> str:
        """Name of the type that the recipe wants for a tensor, whatever its columns."""
        if self.is_output(name):
            return "Q8_0" if self._falcon or DEFAULT_TYPES[self.recipe] == "Q8_0" else "Q6_K"
        lifted: str | None = None
        match _category(name):
            case "attn_v":
                lifted = self._attn_v(self._attn_v_seen)
                self._attn_v_seen += 1
            case "attn_k" if self._shape.experts == 8:
                lifted = "Q8_0"
            case "attn_output":
                lifted = self._attn_output()
            case "ffn_down":
                # Old files hold the experts in no order of layers, so llama.cpp reads the layer off the name.
                lifted = self._ffn_down(_layer(name) if self._shape.experts > 1 else self._ffn_down_seen)
                self._ffn_down_seen += 1
        return lifted or DEFAULT_TYPES[self.recipe]

    def _attn_v(self, layer: int) -> str | None:
        chosen: str | None = None
        match self.recipe:
            case "q2_K":
                chosen = "Q4_K" if self._shape.heads_per_kv >= 4 else "Q3_K"
            case "q3_K_M":
                chosen = "Q5_K" if layer < 2 else "Q4_K"
            case "q3_K_L":
                chosen = "Q5_K"
            case "q4_K_M" | "q5_K_M" if _more_bits(layer, self._attn_v_count):
                chosen = "Q6_K"
            case "q4_K_S" if layer < 4:
                chosen = "Q5_K"
        if self._shape.is_70b and (chosen or DEFAULT_TYPES[self.recipe]) in ("Q3_K", "Q4_K"):
            chosen = "Q5_K"
        return "Q8_0" if self._shape.experts == 8 else chosen

    def _attn_output(self) -> str | None:
        if self._falcon:
            return "Q4_K" if self.recipe == "q3_K_L" else None
        if self._shape.experts == 8:
            return "Q5_K" if self.recipe in ("q2_K", "q3_K_S", "q3_K_M", "q4_K_S", "q4_K_M") else None
        return {"q2_K": "Q3_K", "q3_K_M": "Q4_K", "q3_K_L": "Q5_K"}.get(self.recipe)

    def _ffn_down(self, layer: int) -> str | None:
        layers = self._shape.layers
        more = _more_bits(layer, layers)
        chosen: str | None = None
        match self.recipe:
            case "q2_K":
                chosen = "Q3_K"
            case "q3_K_M" if layer < layers // 16:
                chosen = "Q5_K"
            case "q3_K_M" if more or not self._falcon:
                chosen = "Q4_K"
            case "q3_K_L":
                chosen = "Q4_K" if self._falcon else "Q5_K"
            case "q4_K_M" if self._falcon and layer < layers // 16:
                chosen = "Q6_K"
            case "q4_K_M" if more:
                chosen = "Q5_K" if self._falcon else "Q6_K"
            case "q5_K_M" if more:
                chosen = "Q6_K"
            case "q4_K_S" if layer < layers // 8 and not self._falcon:
                chosen = "Q5_K"
        return chosen


def _more_bits(layer: int, layers: int) -> bool:
    """The first and the last eighth of the layers, and every third between."""
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def _is_token_embedding(name: str) -> bool:
    return name in ("token_embd.weight", "per_layer_token_embd.weight")


def _category(name: str) -> str:
    return next((category for part, category in _CATEGORIES if part in name), "other")


def _layer(name: str) -> int:
    layer = re.match(r"blk\.(\d+)\.", name)
    if layer is None:
        raise TensorError(f"{name}: can't tell its layer, by which a mixture of experts is quantised")
    return int(layer[1])


def _number(metadata: Metadata, key: str, default: int | None = None) -> int:
    if key not in metadata:
        if default is None:
            raise BadConfigError(f"the metadata have no {key}", hint="the types of a recipe depend on it")
        return default
    value = metadata[key]
    return int(value.data if value.items is None else value.data[0])
