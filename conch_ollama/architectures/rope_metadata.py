"""The rope keys of a GGUF from a checked `Rope`, and the config.json keys that such metadata stands for.

Which keys llama.cpp reads for llama, qwen2 and qwen3 (llama-model.cpp): type, factor, original_context_length and
attn_factor; it reads none of the `yarn_*` keys there, which are written as the reference converter does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conch_ollama.architectures.gguf_keys import PlainMetadata, decimal, number, text, whole
from conch_ollama.architectures.rope import DEFAULT_THETA, Rope, default_attention_factor, llama3_factors
from conch_ollama.errors import UnhandledConfigError
from conch_ollama.formats.metadata import Value, f32, string, u32

#: config.json -> GGUF, for values that are written only where they are given.
YARN_KEYS: Mapping[str, str] = {
    "extrapolation_factor": "yarn_ext_factor",
    "attention_factor": "yarn_attn_factor",
    "beta_fast": "yarn_beta_fast",
    "beta_slow": "yarn_beta_slow",
}


def rope_metadata(rope: Rope, name: str) -> dict[str, Value]:
    """`{name}.rope.scaling.*` and `{name}.rope.freq_base`; `name` is the architecture's."""
    found: dict[str, Value] = {}
    prefix = f"{name}.rope.scaling"
    if rope.type in ("linear", "yarn"):
        found[f"{prefix}.type"] = string(rope.type)
        found[f"{prefix}.factor"] = f32(rope.factor)
    if rope.type == "yarn":
        found[f"{prefix}.original_context_length"] = u32(rope.original_context)
        for key, suffix in YARN_KEYS.items():
            if key in rope.given:
                found[f"{prefix}.{suffix}"] = f32(rope.given[key])
        # llama.cpp multiplies the factor that it computes itself with this key, and reads no other.
        relative = rope.attention_factor / default_attention_factor(rope.factor)
        if abs(relative - 1.0) > 1e-6:
            found[f"{prefix}.attn_factor"] = f32(relative)
    found[f"{name}.rope.freq_base"] = f32(rope.theta)
    return found


def rope_config(metadata: PlainMetadata, name: str) -> dict[str, Any]:
    """`rope_theta` and, where the positions are scaled, `rope_scaling`, in transformers 4's spelling."""
    found: dict[str, Any] = {"rope_theta": number(metadata, f"{name}.rope.freq_base", DEFAULT_THETA)}
    prefix = f"{name}.rope.scaling"
    # files of 2023 have only scale_linear; llama.cpp takes a factor without a type as linear, 0 as none
    factor = number(metadata, f"{prefix}.factor", number(metadata, f"{name}.rope.scale_linear", 0.0))
    kind = text(metadata, f"{prefix}.type", "linear" if factor else "none")
    if kind == "none" or (kind == "linear" and factor in (0.0, 1.0)):
        return found
    if kind not in ("linear", "yarn"):
        raise UnhandledConfigError(f"`{prefix}.type` is {kind!r}, which is not handled (handled: linear, none, yarn)")
    scaling: dict[str, Any] = {"rope_type": kind, "factor": factor or 1.0}
    if kind == "yarn":
        context = whole(metadata, f"{name}.context_length")
        scaling["original_max_position_embeddings"] = whole(metadata, f"{prefix}.original_context_length", context)
        for key, suffix in YARN_KEYS.items():
            if f"{prefix}.{suffix}" in metadata:
                scaling[key] = number(metadata, f"{prefix}.{suffix}")
        if f"{prefix}.attn_factor" in metadata and "attention_factor" not in scaling:
            relative = number(metadata, f"{prefix}.attn_factor")
            scaling["attention_factor"] = decimal(relative * default_attention_factor(scaling["factor"]))
    return {**found, "rope_scaling": scaling}


def llama3_scaling(values: NDArray[np.float32], theta: float) -> dict[str, Any] | None:
    """The `rope_scaling` of type llama3 that `rope_freqs.weight` came from; None where it came from no such.

    low_freq_factor is taken as 1: the factors stay the same when it, high_freq_factor and the context grow together.
    """
    factor = decimal(values.max())
    if factor <= 1:
        return None
    for high, context in (_fitted(values, theta, factor), (4.0, 8192)):
        if high > 1 and context > 0:
            expected = llama3_factors(Rope("llama3", theta, factor, context, 1.0, 1.0, high), 2 * len(values))
            if expected is not None and np.allclose(expected, values, rtol=1e-5, atol=0):
                return {
                    "rope_type": "llama3",
                    "factor": factor,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": high,
                    "original_max_position_embeddings": context,
                }
    return None


def _fitted(values: NDArray[np.float32], theta: float, factor: float) -> tuple[float, int]:
    """high_freq_factor and original context from the factors between 1 and the largest.

    Their `smooth` (see `llama3_factors`) is linear in 1/wavelength. Gives (0, 0) where fewer than two lie between.
    """
    between = (values > 1) & (values < values.max())
    if between.sum() < 2:
        return 0.0, 0
    inverse_wavelengths = theta ** (-np.arange(len(values)) / len(values)) / (2 * np.pi)
    smooth = (1 / values.astype(np.float64) - 1 / factor) / (1 - 1 / factor)
    slope, intercept = np.polyfit(inverse_wavelengths[between], smooth[between], 1)
    if slope <= 0 or intercept >= 0:
        return 0.0, 0
    width = -1 / intercept  # high - low, with low = 1
    return round(1 + width, 3), round(slope * width)
