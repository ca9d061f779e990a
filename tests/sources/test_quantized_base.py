"""Which model to use instead of a quantised one."""

from __future__ import annotations

import pytest

from conch_ollama.errors import QuantizedBaseError
from conch_ollama.sources.quantized_base import refuse_quantized, unquantized_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("unsloth/Qwen2.5-1.5B-Instruct-bnb-4bit", "unsloth/Qwen2.5-1.5B-Instruct"),
        ("unsloth/Llama-3.2-1B-unsloth-bnb-4bit", "unsloth/Llama-3.2-1B"),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "Qwen/Qwen2.5-7B-Instruct"),
        ("Qwen/Qwen3-8B-AWQ", "Qwen/Qwen3-8B"),
        ("Qwen/Qwen3-8B-FP8", "Qwen/Qwen3-8B"),
        ("mlx-community/Qwen3-0.6B-4bit", "mlx-community/Qwen3-0.6B"),
        ("/models/Qwen3-8B-AWQ", "/models/Qwen3-8B"),
        ("Qwen/Qwen2.5-0.5B-Instruct", None),
        ("HuggingFaceTB/SmolLM2-135M", None),
        ("-AWQ", None),
    ],
)
def test_the_name_of_the_model_that_was_quantised(name: str, expected: str | None) -> None:
    assert unquantized_name(name) == expected


def test_the_hint_names_what_is_known() -> None:
    quantization = {"quantization_config": {"quant_method": "bitsandbytes"}}
    for where, origin, instead in [
        ("unsloth/Qwen3-8B-bnb-4bit", None, "(unsloth/Qwen3-8B, perhaps)"),
        ("/models/base", "Qwen/Qwen3-8B-AWQ", "(Qwen/Qwen3-8B, perhaps)"),
        ("/models/base", "Qwen/Qwen3-8B", "(Qwen/Qwen3-8B, perhaps)"),
    ]:
        with pytest.raises(QuantizedBaseError) as caught:
            refuse_quantized({**quantization, "_name_or_path": origin}, where)
        assert where in caught.value.message
        assert instead in (caught.value.hint or "")
    with pytest.raises(QuantizedBaseError) as caught:
        refuse_quantized(quantization, "/models/base")
    assert "perhaps" not in (caught.value.hint or "")
    refuse_quantized({}, "x")
    refuse_quantized({"quantization_config": None}, "x")
