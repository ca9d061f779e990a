"""Rotary position embedding: its configuration in either spelling, checked, and llama3's frequency factors.

Formulas: transformers' modeling_rope_utils.py. The metadata is written and read in `rope_metadata`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conch_ollama.architectures.config_keys import integer, number, present, refuse
from conch_ollama.errors import BadConfigError

Config = Mapping[str, Any]

#: rope_type -> the keys of the dictionary that mean something with it.
KEYS: Mapping[str, frozenset[str]] = {
    "default": frozenset(),
    "linear": frozenset({"factor"}),
    "dynamic": frozenset({"factor", "original_max_position_embeddings"}),
    "llama3": frozenset({"factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"}),
    "yarn": frozenset({
        "factor", "original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow", "mscale",
        "mscale_all_dim", "truncate", "extrapolation_factor",
    }),
}  # fmt: skip
GENERAL_KEYS = frozenset({"rope_type", "type", "rope_theta", "partial_rotary_factor", "mrope_section"})
#: Values with which a key changes nothing. llama.cpp has yarn's other values built in for these architectures.
HANDLED: Mapping[str, tuple[Any, ...]] = {
    "partial_rotary_factor": (1,),
    "mrope_section": (),
    "beta_fast": (32,),
    "beta_slow": (1,),
    "truncate": (True,),
    "extrapolation_factor": (1,),
}
DEFAULT_THETA = 10000.0


@dataclass(frozen=True, slots=True)
class Rope:
    """How positions are encoded. `attention_factor` is what yarn multiplies the rotated vectors with.

    `given` is the dictionary as it was found, without null values.
    """

    type: str
    theta: float
    factor: float = 1.0
    original_context: int = 0
    attention_factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    given: Mapping[str, Any] = field(default_factory=dict)


def parameters(config: Config) -> dict[str, Any]:
    """The rope dictionary: `rope_scaling` (transformers 4) or `rope_parameters` (5), null values left out.

    Within it `rope_theta` may lie (5), and the parameters may be nested under `full_attention`.
    """
    key = "rope_scaling" if config.get("rope_scaling") else "rope_parameters"
    found = config.get(key) or {}
    if isinstance(found, Mapping) and isinstance(found.get("full_attention"), Mapping):
        found = found["full_attention"]
    if not isinstance(found, Mapping):
        raise BadConfigError(f"config.json: `{key}` must be a dictionary, but is {found!r}")
    return {name: value for name, value in found.items() if value is not None}


def read_rope(config: Config, types: Collection[str]) -> Rope:
    """The rope of a configuration; `types` are those that the architecture handles.

    Raises `UnhandledConfigError` for another type and for values that llama.cpp has no key for, `BadConfigError` for
    what is missing or impossible.
    """
    given = parameters(config)
    theta = number(given, "rope_theta", number(config, "rope_theta", DEFAULT_THETA))
    kind = given.get("rope_type", given.get("type", "default"))
    if kind not in types:
        raise refuse("rope_type", kind, known=sorted(types))
    for key, values in HANDLED.items():
        if key in given and given[key] not in values:
            raise refuse(f"rope_scaling.{key}", given[key], known=values)
    if kind == "default":
        return Rope(kind, theta, given=given)
    rope = Rope(kind, theta, number(given, "factor", within="rope_scaling."), given=given)
    if kind in ("linear", "dynamic"):
        return rope
    original = integer(
        {**{"original_max_position_embeddings": config.get("original_max_position_embeddings")}, **given},
        "original_max_position_embeddings",
        integer(config, "max_position_embeddings"),
        within="rope_scaling.",
    )
    if kind == "yarn":
        return Rope(kind, theta, rope.factor, original, _attention_factor(given, rope.factor), given=given)
    low = number(given, "low_freq_factor", within="rope_scaling.")
    high = number(given, "high_freq_factor", within="rope_scaling.")
    if high <= low:
        raise BadConfigError(
            f"config.json: `rope_scaling.high_freq_factor` ({high:g}) must be above `low_freq_factor` ({low:g})"
        )
    return Rope(kind, theta, rope.factor, original, 1.0, low, high, given)


def rope_warnings(config: Config) -> list[str]:
    """Keys of the rope dictionary that mean nothing with its type, and what llama.cpp won't do."""
    given = parameters(config)
    kind = given.get("rope_type", given.get("type", "default"))
    unknown = sorted(given.keys() - GENERAL_KEYS - KEYS.get(kind, frozenset()))
    found = [
        f"config.json: `rope_scaling.{key}` means nothing with rope_type {kind!r} and is ignored" for key in unknown
    ]
    if kind == "dynamic":
        found.append(
            "config.json: llama.cpp has no dynamic rope scaling; up to max_position_embeddings "
            f"({config.get('max_position_embeddings')} tokens) it is the same without"
        )
    return found


def default_attention_factor(factor: float, mscale: float = 1.0) -> float:
    """yarn's 0.1 * mscale * ln(factor) + 1 (section 3.4 of the paper, arXiv:2309.00071)."""
    return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0


def _attention_factor(given: Mapping[str, Any], factor: float) -> float:
    if present(given, "attention_factor"):
        return number(given, "attention_factor", within="rope_scaling.")
    if given.get("mscale") and given.get("mscale_all_dim"):
        mscale = number(given, "mscale", within="rope_scaling.")
        mscale_all = number(given, "mscale_all_dim", within="rope_scaling.")
        return default_attention_factor(factor, mscale) / default_attention_factor(factor, mscale_all)
    return default_attention_factor(factor)


def llama3_factors(rope: Rope, head_dim: int) -> NDArray[np.float32] | None:
    """What llama.cpp divides the frequencies by (`rope_freqs.weight`), (head_dim/2,); None for other types.

    Llama 3.1's scaling as in transformers' `_compute_llama3_parameters`, in float32; the power is rounded correctly,
    where torch's may be one unit in the last place off (for Llama 3's own values it is not).
    """
    if rope.type != "llama3":
        return None
    single = np.float32
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / single(head_dim)
    frequencies = single(1) / np.power(np.float64(single(rope.theta)), exponents.astype(np.float64)).astype(np.float32)
    wavelengths = single(2 * math.pi) / frequencies
    low, factor = single(rope.low_freq_factor), single(rope.factor)
    smooth = (single(rope.original_context) / wavelengths - low) / single(rope.high_freq_factor - rope.low_freq_factor)
    between = single(1) / ((single(1) - smooth) / factor + smooth)
    short = wavelengths < single(rope.original_context / rope.high_freq_factor)
    long = wavelengths > single(rope.original_context / rope.low_freq_factor)
    return np.where(short, single(1), np.where(long, factor, between)).astype(np.float32)
