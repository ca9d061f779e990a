"""Tells bases that are quantised (bitsandbytes, GPTQ, AWQ …) and names the model to use instead. Reads no weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from conch_ollama.errors import QuantizedBaseError

#: `quant_method`s whose weights can be 8-bit floats with scales; what they hold is then seen from the tensors.
_MAYBE_FLOAT8 = frozenset({"fp8", "fbgemm_fp8", "compressed-tensors", "modelopt"})
_ENDING = re.compile(
    r"(-unsloth)?-(bnb-[48]bit|[348]bit|gptq|awq|fp8|nvfp4|mxfp4|int[48]|w[48]a(8|16)|hqq|aqlm|exl[23])([-_.].*)?\Z",
    re.IGNORECASE,
)


def refuse_quantized(config: Mapping[str, Any], where: str) -> None:
    """`QuantizedBaseError` for a model whose weights are quantised otherwise than to 8-bit floats."""
    method = quant_method(config)
    if method is not None and method not in _MAYBE_FLOAT8:
        raise quantized_error(where, method, config)


def quant_method(config: Mapping[str, Any]) -> str | None:
    """What config.json says the weights were quantised by; None for weights that are not."""
    given = config.get("quantization_config")
    if not given:
        return None
    if not isinstance(given, Mapping):
        return "unknown"
    if given.get("quant_method"):
        return str(given["quant_method"])
    return "bitsandbytes" if given.get("load_in_4bit") or given.get("load_in_8bit") else "unknown"


def unquantized_name(name: str) -> str | None:
    """The model that a quantised one was made from, judging by its name; None where the name says nothing."""
    found = _ENDING.sub("", name)
    return found if found and found != name else None


def quantized_error(where: str, method: str, config: Mapping[str, Any]) -> QuantizedBaseError:
    """The error for the model `where`, with the one to use instead where it can be told."""
    origin = config.get("_name_or_path")
    names = [name for name in (origin, where) if isinstance(name, str) and name]
    instead = next(filter(None, map(unquantized_name, names)), None)
    if instead is None and isinstance(origin, str) and origin != where:
        instead = origin or None
    return QuantizedBaseError(
        f"{where} is quantised by {method}: its weights are not the model's own, an adapter can't be merged on them",
        hint=f"use the model it was quantised from{f' ({instead}, perhaps)' if instead else ''}, in bf16 or f16: "
        "the adapter fits that one too",
    )
