"""8-bit float bases: each kind of scale against its definition; refused where a scale is missing or does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conch_ollama.errors import ConchError, QuantizedBaseError, ShapeError
from conch_ollama.formats.floats import float32_from_f8
from conch_ollama.sources.folder import HuggingFaceFolder
from tests.sources.model_folders import Tensor, bf16, f32, write_folder

RNG = np.random.default_rng(0)
BITS = RNG.integers(0, 0x7F, (300, 200), dtype=np.uint8)
VALUES = float32_from_f8(BITS, "F8_E4M3")
NORM = f32(np.ones(4))


def scales(*shape: int) -> np.ndarray:
    return RNG.uniform(0.01, 0.1, shape).astype(np.float32)


def opened(tmp_path: Path, tensors: dict[str, Tensor], quantization: Any) -> HuggingFaceFolder:
    config = {"quantization_config": quantization} if quantization else {}
    return HuggingFaceFolder(write_folder(tmp_path, [tensors], config))


def test_a_scale_for_every_block_of_128_by_128(tmp_path: Path) -> None:
    scale = scales(3, 2)
    source = opened(
        tmp_path,
        {"w.weight": ("F8_E4M3", BITS), "w.weight_scale_inv": f32(scale), "norm": NORM},
        {"quant_method": "fp8", "weight_block_size": [128, 128], "fmt": "e4m3"},
    )
    # The definition, element by element: y = x * s[row // 128, column // 128] (DeepSeek-V3, kernel.py: weight_dequant)
    rows, columns = np.indices(BITS.shape)
    expected = VALUES * scale[rows // 128, columns // 128]
    assert np.array_equal(source.read("w.weight", 0, 300), expected)
    assert np.array_equal(source.read("w.weight", 100, 260), expected[100:260])
    assert set(source.tensors) == {"w.weight", "norm"}
    assert source.tensors["w.weight"].dtype == "F32"
    assert "quantization_config" not in source.config


@pytest.mark.parametrize("shape", [(), (1,), (300, 1), (300,)])
def test_a_scale_for_the_tensor_or_for_every_row(tmp_path: Path, shape: tuple[int, ...]) -> None:
    scale = scales(*shape)
    source = opened(
        tmp_path,
        {
            "w.weight": ("F8_E4M3", BITS),
            "w.weight_scale": f32(scale),
            "w.input_scale": f32(np.array(0.5)),
            "norm": NORM,
        },
        {"quant_method": "compressed-tensors", "format": "float-quantized"},
    )
    expected = VALUES * (scale.reshape(300, 1) if scale.size == 300 else scale.reshape(1, 1))
    assert np.array_equal(source.read("w.weight", 7, 99), expected[7:99])
    assert set(source.tensors) == {"w.weight", "norm"}


def test_bf16_scales_and_blocks_as_compressed_tensors_names_them(tmp_path: Path) -> None:
    scale = np.array([[0.5, 2], [0.25, 4], [1, 8]], np.float32)
    source = opened(
        tmp_path,
        {"w.weight": ("F8_E4M3", BITS), "w.weight_scale": bf16(scale), "norm": NORM},
        {
            "quant_method": "compressed-tensors",
            "config_groups": {"group_0": {"weights": {"strategy": "block", "block_structure": [128, 128]}}},
        },
    )
    assert source.read("w.weight", 299, 300)[0, 199] == VALUES[299, 199] * 8


def test_e5m2_is_read_with_its_own_table(tmp_path: Path) -> None:
    source = opened(
        tmp_path, {"w.weight": ("F8_E5M2", BITS), "w.weight_scale": f32(np.array(2.0))}, {"quant_method": "fp8"}
    )
    assert np.array_equal(source.read("w.weight", 0, 300), float32_from_f8(BITS, "F8_E5M2") * 2, equal_nan=True)


@pytest.mark.parametrize(
    ("tensors", "quantization", "kind", "named"),
    [
        ({"w.weight": ("F8_E4M3", BITS)}, None, QuantizedBaseError, r"w\.weight .*no scale"),
        (
            {"w.weight": ("F8_E4M3", BITS), "w.weight_scale_inv": f32(scales(3, 2))},
            {"quant_method": "fp8"},
            ShapeError,
            r"w\.weight_scale_inv .*\[3, 2\]",
        ),
        (
            {"w.weight": ("F8_E4M3", BITS), "w.weight_scale": f32(scales(300, 4))},
            {"quant_method": "compressed-tensors"},
            ShapeError,
            r"w\.weight_scale .*\[300, 4\]",
        ),
        (
            {
                "w.weight": ("F8_E4M3", BITS),
                "w.weight_scale": f32(scales(300)),
                "w.weight_zero_point": f32(scales(300)),
            },
            {"quant_method": "compressed-tensors"},
            QuantizedBaseError,
            "compressed-tensors",
        ),
        (
            {
                "w.weight": ("F8_E4M3", BITS),
                "w.weight_scale": f32(scales(300)),
                "v.weight_packed": ("U8", BITS),
            },
            {"quant_method": "modelopt"},
            QuantizedBaseError,
            "modelopt",
        ),
    ],
    ids=["no scale", "blocks of unknown size", "groups", "zero points", "four bits beside it"],
)
@pytest.mark.bad_input("8-bit floats that can't be converted by their scales")
def test_what_would_be_misread_is_refused(
    tmp_path: Path, tensors: dict[str, Tensor], quantization: Any, kind: type[ConchError], named: str
) -> None:
    with pytest.raises(kind, match=named) as caught:
        opened(tmp_path, tensors, quantization)
    assert caught.value.hint
