"""What the decoders here have in common: the sizes that config.json gives, their metadata, and the way back.

Llama, Mistral, Qwen2 and Qwen3 differ in `Traits`, in their tensors and in a few keys, which their own files hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from conch_ollama.architectures import config_keys, gguf_keys
from conch_ollama.architectures.config_keys import check_values, integer, number, present, unknown_keys
from conch_ollama.architectures.gguf_keys import PlainMetadata
from conch_ollama.architectures.rope import Rope, read_rope, rope_warnings
from conch_ollama.architectures.rope_metadata import rope_config, rope_metadata
from conch_ollama.architectures.rules import Config, Presence, Shapes
from conch_ollama.errors import BadConfigError, UnhandledConfigError
from conch_ollama.formats.metadata import Value, f32, u32

#: Tensors of old checkpoints that say nothing: they are computed from the configuration.
IGNORED = (r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq", r"model\.rotary_emb\.inv_freq")


@dataclass(frozen=True, slots=True)
class Traits:
    """How a family reads the keys that all of them have.

    `key_value_heads` and `head_dim` are transformers' defaults: a number, "derived" (as many as heads; hidden size
    over heads) or None (the key must be there). `handled` are values of known keys, `known` further known keys.
    """

    name: str
    rope_types: frozenset[str]
    key_value_heads: int | str | None = None
    head_dim: int | str = "derived"
    handled: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    known: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Decoder:
    """The sizes of a model, checked."""

    layers: int
    context: int
    hidden: int
    intermediate: int
    heads: int
    key_value_heads: int
    head_dim: int
    vocabulary: int
    epsilon: float
    rope: Rope


def read(config: Config, traits: Traits) -> Decoder:
    """The sizes of a model from its config.json.

    Raises `UnhandledConfigError` where a known key has a value that is not handled, `BadConfigError` where a key is
    missing, of a wrong type or impossible.
    """
    check_values(config, {**config_keys.HANDLED, **traits.handled})
    config_keys.flag(config, "tie_word_embeddings")
    hidden, heads = integer(config, "hidden_size"), integer(config, "num_attention_heads")
    default = heads if traits.key_value_heads == "derived" else traits.key_value_heads
    key_value_heads = integer(config, "num_key_value_heads", int(default) if default is not None else None)
    if heads % key_value_heads:
        raise BadConfigError(
            f"config.json: `num_attention_heads` ({heads}) is not a multiple of "
            f"`num_key_value_heads` ({key_value_heads})"
        )
    return Decoder(
        layers=integer(config, "num_hidden_layers"),
        context=integer(config, "max_position_embeddings"),
        hidden=hidden,
        intermediate=integer(config, "intermediate_size"),
        heads=heads,
        key_value_heads=key_value_heads,
        head_dim=_head_dim(config, traits, hidden, heads),
        vocabulary=integer(config, "vocab_size"),
        epsilon=number(config, "rms_norm_eps"),
        rope=read_rope(config, traits.rope_types),
    )


def _head_dim(config: Config, traits: Traits, hidden: int, heads: int) -> int:
    if present(config, "head_dim"):
        head_dim = integer(config, "head_dim")
    elif isinstance(traits.head_dim, int):
        head_dim = traits.head_dim
    elif hidden % heads:
        raise BadConfigError(
            f"config.json: `hidden_size` ({hidden}) is not a multiple of `num_attention_heads` ({heads})"
        )
    else:
        head_dim = hidden // heads
    if head_dim % 2:
        raise BadConfigError(f"config.json: `head_dim` ({head_dim}) is odd, which rotary embeddings can't be")
    return head_dim


def dimensions(decoder: Decoder) -> dict[str, int]:
    """The sizes that rules name in their shapes."""
    return {
        "vocabulary": decoder.vocabulary,
        "hidden": decoder.hidden,
        "intermediate": decoder.intermediate,
        "queries": decoder.heads * decoder.head_dim,
        "keys": decoder.key_value_heads * decoder.head_dim,
        "head": decoder.head_dim,
        "frequencies": decoder.head_dim // 2,
    }


def metadata(decoder: Decoder, name: str, *, head_dim: bool) -> dict[str, Value]:
    """The `{name}.*` keys that every decoder has; key and value length where `head_dim` says so."""
    found = {
        f"{name}.block_count": u32(decoder.layers),
        f"{name}.context_length": u32(decoder.context),
        f"{name}.embedding_length": u32(decoder.hidden),
        f"{name}.feed_forward_length": u32(decoder.intermediate),
        f"{name}.attention.head_count": u32(decoder.heads),
        f"{name}.attention.head_count_kv": u32(decoder.key_value_heads),
        **rope_metadata(decoder.rope, name),
        f"{name}.attention.layer_norm_rms_epsilon": f32(decoder.epsilon),
    }
    if head_dim:
        found[f"{name}.attention.key_length"] = u32(decoder.head_dim)
        found[f"{name}.attention.value_length"] = u32(decoder.head_dim)
    return found


def warnings(config: Config, traits: Traits) -> list[str]:
    """Unknown keys, one line each, and what of rope will not be carried over."""
    known = traits.known | traits.handled.keys()
    lines = [f"config.json: `{key}` is not known and is ignored" for key in unknown_keys(config, known)]
    return lines + rope_warnings(config)


def output_presence(config: Config) -> Presence:
    """Of `lm_head.weight`: a tied model may bring a copy along, which the reference converter writes too."""
    return "optional" if config_keys.flag(config, "tie_word_embeddings") else "required"


def config_from(data: PlainMetadata, shapes: Shapes | None, name: str) -> dict[str, Any]:
    """config.json's keys from a GGUF's metadata and the shapes of its tensors; without shapes nothing is said of tying.

    Raises `BadGGUFError` where a key is missing or of a wrong type, `UnhandledConfigError` for mixtures of experts,
    values for each layer, partly rotated heads and keys of another length than values.
    """
    heads = gguf_keys.whole(data, f"{name}.attention.head_count")
    hidden = gguf_keys.whole(data, f"{name}.embedding_length")
    key_length = gguf_keys.whole(data, f"{name}.attention.key_length", hidden // max(heads, 1))
    _same(data, f"{name}.attention.value_length", key_length)
    _same(data, f"{name}.rope.dimension_count", key_length)
    _same(data, f"{name}.expert_count", 0)
    found: dict[str, Any] = {
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": gguf_keys.whole(data, f"{name}.feed_forward_length"),
        "max_position_embeddings": gguf_keys.whole(data, f"{name}.context_length"),
        "num_attention_heads": heads,
        "num_hidden_layers": gguf_keys.whole(data, f"{name}.block_count"),
        "num_key_value_heads": gguf_keys.whole(data, f"{name}.attention.head_count_kv", heads),
        "rms_norm_eps": gguf_keys.number(data, f"{name}.attention.layer_norm_rms_epsilon"),
        **rope_config(data, name),
        "vocab_size": _vocabulary(data, shapes, name),
    }
    if shapes is not None:
        found["tie_word_embeddings"] = "output.weight" not in shapes
    if f"{name}.attention.key_length" in data:
        found["head_dim"] = key_length
    for key in ("bos", "eos"):
        if f"tokenizer.ggml.{key}_token_id" in data:
            found[f"{key}_token_id"] = gguf_keys.whole(data, f"tokenizer.ggml.{key}_token_id")
    return found


def _vocabulary(data: PlainMetadata, shapes: Shapes | None, name: str) -> int:
    """Rows of the embedding: a metadata key for it is not in every architecture, and not in every file."""
    if shapes is not None and "token_embd.weight" in shapes:
        return shapes["token_embd.weight"][0]
    tokens = data.get("tokenizer.ggml.tokens")
    return gguf_keys.whole(data, f"{name}.vocab_size", None if tokens is None else len(tokens))


def _same(data: PlainMetadata, key: str, wanted: int) -> None:
    found = gguf_keys.whole(data, key, wanted)
    if found != wanted:
        raise UnhandledConfigError(f"`{key}` is {found}, which is not handled (handled: {wanted})")
