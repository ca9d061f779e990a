from __future__ import annotations

import gguf
import pytest

from conch_ollama.errors import ShapeError, UnknownTypeError
from conch_ollama.quantize.types import GGML, QUANTIZATION_VERSION, WRITTEN_TYPES, block_elements, row_bytes, type_name


def test_numbers_names_and_sizes_are_those_of_the_gguf_package() -> None:
    assert set(GGML) == set(WRITTEN_TYPES)
    for name, number in GGML.items():
        assert number == gguf.GGMLQuantizationType[name]
        assert type_name(number) == name
        elements, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(number)]
        assert (block_elements(number), row_bytes(number, elements)) == (elements, size)
        assert row_bytes(number, 3 * elements) == 3 * size
    assert QUANTIZATION_VERSION == gguf.GGML_QUANT_VERSION


@pytest.mark.bad_input("columns that fill no whole blocks")
def test_columns_that_fill_no_whole_blocks() -> None:
    with pytest.raises(ShapeError) as caught:
        row_bytes(GGML["Q4_K"], 576)
    assert caught.value.code == "shape"
    assert "576" in caught.value.message
    assert "256" in caught.value.message
    assert "Q4_K" in caught.value.message


@pytest.mark.bad_input("a number that is no GGML type")
def test_a_number_that_is_no_type() -> None:
    with pytest.raises(UnknownTypeError) as caught:
        type_name(4)  # Q4_2, long removed
    assert caught.value.code == "unknown-type"
    assert "4" in caught.value.message
