"""Qwen2, Qwen2.5, DeepSeek-R1-Distill-Qwen: biases on query, key and value, none on the output."""

from __future__ import annotations

from typing import Any

from conch_ollama.architectures import decoder
from conch_ollama.architectures.config_keys import present
from conch_ollama.architectures.decoder import Traits
from conch_ollama.architectures.gguf_keys import PlainMetadata
from conch_ollama.architectures.rules import Architecture, Config, Rule, Shapes
from conch_ollama.formats.metadata import Metadata

TRAITS = Traits(
    name="qwen2",
    rope_types=frozenset({"default", "linear", "dynamic", "yarn"}),
    handled={"use_sliding_window": (False, None)},
    known=frozenset({"sliding_window"}),
)

RULES = (
    Rule("model.embed_tokens.weight", "token_embd.weight", ("vocabulary", "hidden")),
    Rule("model.norm.weight", "output_norm.weight", ("hidden",)),
    Rule("lm_head.weight", "output.weight", ("vocabulary", "hidden"), presence=decoder.output_presence),
    Rule("model.layers.{}.input_layernorm.weight", "blk.{}.attn_norm.weight", ("hidden",)),
    Rule("model.layers.{}.self_attn.q_proj.weight", "blk.{}.attn_q.weight", ("queries", "hidden")),
    Rule("model.layers.{}.self_attn.q_proj.bias", "blk.{}.attn_q.bias", ("queries",)),
    Rule("model.layers.{}.self_attn.k_proj.weight", "blk.{}.attn_k.weight", ("keys", "hidden")),
    Rule("model.layers.{}.self_attn.k_proj.bias", "blk.{}.attn_k.bias", ("keys",)),
    Rule("model.layers.{}.self_attn.v_proj.weight", "blk.{}.attn_v.weight", ("keys", "hidden")),
    Rule("model.layers.{}.self_attn.v_proj.bias", "blk.{}.attn_v.bias", ("keys",)),
    Rule("model.layers.{}.self_attn.o_proj.weight", "blk.{}.attn_output.weight", ("hidden", "queries")),
    Rule("model.layers.{}.post_attention_layernorm.weight", "blk.{}.ffn_norm.weight", ("hidden",)),
    Rule("model.layers.{}.mlp.gate_proj.weight", "blk.{}.ffn_gate.weight", ("intermediate", "hidden")),
    Rule("model.layers.{}.mlp.up_proj.weight", "blk.{}.ffn_up.weight", ("intermediate", "hidden")),
    Rule("model.layers.{}.mlp.down_proj.weight", "blk.{}.ffn_down.weight", ("hidden", "intermediate")),
)


def metadata(config: Config) -> Metadata:
    """The `qwen2.*` keys; key and value length only where config.json gives head_dim."""
    return decoder.metadata(decoder.read(config, TRAITS), "qwen2", head_dim=present(config, "head_dim"))


def config_from(data: PlainMetadata, shapes: Shapes | None = None) -> dict[str, Any]:
    """config.json's keys from a GGUF of this architecture."""
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        **decoder.config_from(data, shapes, "qwen2"),
        "use_sliding_window": False,
    }


QWEN2 = Architecture(
    name="qwen2",
    model_types=("qwen2",),
    rules=RULES,
    dimensions=lambda config: decoder.dimensions(decoder.read(config, TRAITS)),
    metadata=metadata,
    warnings=lambda config: decoder.warnings(config, TRAITS),
    config=config_from,
    ignored=decoder.IGNORED,
)
