"""Safetensors files: what is written is read back, and everything that a header can say wrongly is refused."""

from __future__ import annotations

import hashlib
import json
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conch_ollama.errors import (
    BadSafetensorsError,
    ConchError,
    MissingTensorError,
    ShapeError,
    TruncatedFileError,
    UnknownTypeError,
)
from conch_ollama.formats.floats import bf16_from_float32
from conch_ollama.formats.safetensors import SafetensorsFile, SafetensorsWriter
from conch_ollama.formats.tensors import TensorInfo


def raw_file(path: Path, header: Any, data: bytes = b"") -> Path:
    """A file with that header (an object, or bytes as they are) and data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.fixture
def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "embed": rng.standard_normal((7, 4)).astype(np.float32),
        "norm": rng.standard_normal(5).astype(np.float32),
        "卷": rng.standard_normal((2, 3, 4)).astype(np.float32),
        "scalar": np.array(2.5, dtype=np.float32),
        "empty": np.zeros((0, 4), dtype=np.float32),
    }


def test_what_is_written_is_read_back(tmp_path: Path, weights: dict[str, np.ndarray]) -> None:
    path = tmp_path / "a b.safetensors"
    infos = [TensorInfo(name, "F32", value.shape) for name, value in weights.items()]
    writer = SafetensorsWriter(path, infos, {"format": "pt"})
    with writer:
        for value in weights.values():
            writer.write(np.ascontiguousarray(value).reshape(-1).view(np.uint8))
    assert path.stat().st_size == writer.size
    assert writer.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    (length,) = struct.unpack("<Q", path.read_bytes()[:8])
    assert length % 8 == 0
    with SafetensorsFile(path) as file:
        assert file.metadata == {"format": "pt"}
        assert list(file.tensors.values()) == infos
        for name, value in weights.items():
            assert np.array_equal(file.read(name), value)
            assert file.read(name).shape == value.shape
        assert np.array_equal(file.read("embed", 2, 5), weights["embed"][2:5])
        assert np.array_equal(file.read("卷", 1, 2), weights["卷"][1:2])
        assert file.read("embed", 3, 3).shape == (0, 4)
        assert file.read_raw("norm", 1, 3).tobytes() == weights["norm"][1:3].tobytes()
        before = file.read("embed")
        before += 1
        assert np.array_equal(file.read("embed"), weights["embed"])


def test_bf16_and_f16_are_read_as_float32(tmp_path: Path) -> None:
    values = np.array([[1.5, -2.25], [6e4, 0.1]], dtype=np.float32)
    bits = bf16_from_float32(values)
    half = values.astype(np.float16)
    path = raw_file(
        tmp_path / "x",
        {"b": entry("BF16", [2, 2], 0, 8), "h": entry("F16", [2, 2], 8, 16)},
        bits.tobytes() + half.tobytes(),
    )
    with SafetensorsFile(path) as file:
        assert np.array_equal(file.read("b").view(np.uint32) >> 16, bits)
        assert np.array_equal(file.read("h", 1), half[1:].astype(np.float32))


def test_the_entries_may_stand_in_any_order(tmp_path: Path) -> None:
    data = np.arange(4, dtype=np.float32)
    path = raw_file(tmp_path / "x", {"z": entry("F32", [2], 8, 16), "a": entry("F32", [2], 0, 8)}, data.tobytes())
    with SafetensorsFile(path) as file:
        assert file.read("a").tolist() == [0, 1]
        assert file.read("z").tolist() == [2, 3]
        assert file.metadata == {}


def test_reading_from_several_threads(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((1000, 64)).astype(np.float32)
    path = raw_file(tmp_path / "x", {"w": entry("F32", [1000, 64], 0, values.nbytes)}, values.tobytes())
    with SafetensorsFile(path) as file, ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda start: file.read("w", start, start + 10), range(0, 1000, 10)))
    assert np.array_equal(np.concatenate(parts), values)


ONE = entry("F32", [2], 0, 8)
CAUSES: dict[str, tuple[Any, bytes, type[ConchError], str]] = {
    "header is no JSON": (b"{not json", b"", BadSafetensorsError, "no JSON"),
    "header is no UTF-8": (b'{"\xff": 1}', b"", BadSafetensorsError, "no JSON"),
    "header is nested too deeply": (b"[" * 100_000, b"", BadSafetensorsError, "no JSON"),
    "header is no object": ([], b"", BadSafetensorsError, "no JSON object"),
    "one name twice": (
        b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        bytes(8),
        BadSafetensorsError,
        "w stands there twice",
    ),
    "entry without offsets": ({"w": {"dtype": "F32", "shape": [2]}}, bytes(8), BadSafetensorsError, "tensor w"),
    "entry is no object": ({"w": 3}, bytes(8), BadSafetensorsError, "tensor w"),
    "negative shape": ({"w": entry("F32", [-2], 0, 8)}, bytes(8), BadSafetensorsError, "tensor w"),
    "fractional shape": ({"w": {**ONE, "shape": [2.0]}}, bytes(8), BadSafetensorsError, "tensor w"),
    "shape and bytes do not agree": (
        {"w": entry("F32", [3], 0, 8)},
        bytes(8),
        BadSafetensorsError,
        r"w .*\[3\] of F32",
    ),
    "unknown element type": ({"w": entry("F4", [2], 0, 1)}, bytes(1), UnknownTypeError, "w .*F4"),
    "tensors overlap": ({"v": ONE, "w": entry("F32", [2], 4, 12)}, bytes(12), BadSafetensorsError, "w .*overlaps"),
    "gap between tensors": ({"v": ONE, "w": entry("F32", [2], 12, 20)}, bytes(20), BadSafetensorsError, "w .*gap"),
    "bytes after the last tensor": ({"w": ONE}, bytes(11), BadSafetensorsError, "3 bytes more"),
    "cut short in a tensor": ({"v": ONE, "w": entry("F32", [2], 8, 16)}, bytes(15), TruncatedFileError, "tensor w"),
    "metadata is no table of texts": ({"__metadata__": {"a": 1}}, b"", BadSafetensorsError, "__metadata__"),
}


@pytest.mark.parametrize(
    ("header", "data", "kind", "named"),
    [
        pytest.param(*case, id=name, marks=pytest.mark.bad_input(f"safetensors: {name}"))
        for name, case in CAUSES.items()
    ],
)
def test_a_wrong_header_is_refused(
    tmp_path: Path, header: Any, data: bytes, kind: type[ConchError], named: str
) -> None:
    path = raw_file(tmp_path / "bad.safetensors", header, data)
    with pytest.raises(kind, match=named) as caught:
        SafetensorsFile(path)
    assert type(caught.value) is kind
    assert str(path) in caught.value.message


@pytest.mark.bad_input("safetensors: cut short in the header")
def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    whole = raw_file(tmp_path / "x", {"w": ONE}, bytes(8)).read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(TruncatedFileError, match="cut") as caught:
            SafetensorsFile(tmp_path / "cut")
        assert caught.value.hint


@pytest.mark.bad_input("safetensors: absurd header length")
def test_another_kind_of_file_is_refused_without_reading_it(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff" * 100)
    with pytest.raises(BadSafetensorsError, match="no safetensors file"):
        SafetensorsFile(tmp_path / "x")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_damage_to_a_header_gives_an_error_of_the_tree_or_a_readable_file(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    whole = bytearray(raw_file(path, {"v": ONE, "w": entry("BF16", [2, 2], 8, 16)}, bytes(16)).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 17))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    try:
        with SafetensorsFile(path) as file:
            for name, info in file.tensors.items():
                file.read_raw(name)
                assert info.rows >= 0
    except ConchError:
        pass


def test_asking_for_what_is_not_there(tmp_path: Path) -> None:
    path = raw_file(tmp_path / "x", {"w": ONE, "i": entry("I64", [1], 8, 16)}, bytes(16))
    with SafetensorsFile(path) as file:
        with pytest.raises(MissingTensorError, match="no tensor nothing"):
            file.read("nothing")
        with pytest.raises(ShapeError, match="2 rows, not 1 to 3"):
            file.read("w", 1, 3)
        with pytest.raises(UnknownTypeError, match=r"tensor i in .*I64"):
            file.read("i")


def test_a_writer_that_gets_other_bytes_than_announced_leaves_nothing(tmp_path: Path) -> None:
    infos = [TensorInfo("w", "F32", (2,))]
    with pytest.raises(ShapeError, match="announced"), SafetensorsWriter(tmp_path / "x", infos) as writer:
        writer.write(bytes(4))
    with pytest.raises(ShapeError, match="twice"):
        SafetensorsWriter(tmp_path / "x", infos * 2)
    with pytest.raises(UnknownTypeError, match="w: Q4_K"):
        SafetensorsWriter(tmp_path / "x", [TensorInfo("w", "Q4_K", (256,))])
    assert list(tmp_path.iterdir()) == []
