"""The GGUF writer: byte for byte a real file, and read back by the `gguf` package for any metadata."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conch_ollama.errors import ConchError, NoSpaceError, ShapeError, TensorError, UnknownTypeError, UsageError
from conch_ollama.formats.gguf_reader import GGUFFile
from conch_ollama.formats.gguf_writer import GGUFTensorSpec, GGUFWriter, encode_metadata
from conch_ollama.formats.metadata import Value, ValueType, array, f32, i32, string, strings, u32

F32, Q8_0 = 0, 8


def test_a_real_file_written_again_is_the_same_byte_for_byte(tmp_path: Path, smollm2_gguf: Path) -> None:
    with GGUFFile(smollm2_gguf) as file:
        specs = [GGUFTensorSpec(name, info.type, info.shape) for name, info in file.tensors.items()]
        with GGUFWriter(tmp_path / "again.gguf", file.metadata, specs) as writer:
            for info in file.tensors.values():
                half = info.rows // 2 if len(info.shape) > 1 else 0
                writer.write(file.read_raw(info.name, 0, half))
                writer.write(file.read_raw(info.name, half))
    assert writer.size == smollm2_gguf.stat().st_size
    with smollm2_gguf.open("rb") as original:
        assert writer.sha256 == hashlib.file_digest(original, "sha256").hexdigest()
    assert (tmp_path / "again.gguf").read_bytes() == smollm2_gguf.read_bytes()


def test_a_file_is_the_one_that_the_reference_writer_writes(tmp_path: Path) -> None:
    weights = {"a": np.arange(12, dtype=np.float32).reshape(3, 4), "b": np.ones(5, np.float32)}
    reference = gguf.GGUFWriter(tmp_path / "reference.gguf", "llama")
    reference.add_uint32("n", 7)
    reference.add_array("tokens", ["a", "贝"])
    reference.add_array("ids", [1, -2])
    for name, value in weights.items():
        reference.add_tensor(name, value)
    reference.write_header_to_file()
    reference.write_kv_data_to_file()
    reference.write_tensors_to_file()
    reference.close()
    metadata = {
        "general.architecture": string("llama"),
        "n": u32(7),
        "tokens": strings(["a", "贝"]),
        "ids": array(ValueType.INT32, [1, -2]),
    }
    with GGUFWriter(
        tmp_path / "ours.gguf", metadata, [GGUFTensorSpec(n, F32, w.shape) for n, w in weights.items()]
    ) as out:
        for value in weights.values():
            out.write(value.view(np.uint8))
    assert (tmp_path / "ours.gguf").read_bytes() == (tmp_path / "reference.gguf").read_bytes()


def scalars() -> st.SearchStrategy[Value]:
    kinds: list[st.SearchStrategy[Value]] = []
    for kind, bits in ((ValueType.UINT8, 8), (ValueType.UINT16, 16), (ValueType.UINT32, 32), (ValueType.UINT64, 64)):
        kinds.append(st.integers(0, 2**bits - 1).map(lambda n, kind=kind: Value(kind, n)))
    for kind, bits in ((ValueType.INT8, 8), (ValueType.INT16, 16), (ValueType.INT32, 32), (ValueType.INT64, 64)):
        kinds.append(st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).map(lambda n, kind=kind: Value(kind, n)))
    kinds.append(st.floats(width=32).map(lambda x: Value(ValueType.FLOAT32, x)))
    kinds.append(st.floats().map(lambda x: Value(ValueType.FLOAT64, x)))
    kinds.append(st.booleans().map(lambda b: Value(ValueType.BOOL, b)))
    kinds.append(st.text(st.characters(exclude_categories=["Cs"])).map(lambda s: Value(ValueType.STRING, s)))
    return st.one_of(kinds)


@st.composite
def values(draw: st.DrawFn) -> Value:
    first = draw(scalars())
    if draw(st.booleans()):
        return first
    rest = draw(st.lists(scalars().filter(lambda value: value.type is first.type), max_size=3))
    return Value(ValueType.ARRAY, [first.data, *(value.data for value in rest)], first.type)


def same(left: Any, right: Any) -> bool:
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right or (isinstance(left, float) and math.isnan(left) and math.isnan(right))


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text("abcdefgh.贝", min_size=1, max_size=12), values(), max_size=6))
def test_any_metadata_is_read_back_by_us_and_by_the_reference(
    tmp_path_factory: pytest.TempPathFactory, metadata: dict[str, Value]
) -> None:
    path = tmp_path_factory.getbasetemp() / "metadata.gguf"
    with GGUFWriter(path, metadata, [GGUFTensorSpec("w", F32, (2,))]) as out:
        out.write(bytes(8))
    reference = gguf.GGUFReader(path)
    with GGUFFile(path) as file:
        assert list(file.metadata) == list(metadata)
        for key, value in metadata.items():
            read = file.metadata[key]
            assert (read.type, read.items) == (value.type, value.items)
            assert same(read.data, value.data)
            if value.type is not ValueType.ARRAY or value.data:
                assert same(reference.fields[key].contents(), value.data)
    assert out.size == path.stat().st_size


def test_the_alignment_of_the_metadata_holds(tmp_path: Path) -> None:
    specs = [GGUFTensorSpec("a", F32, (1,)), GGUFTensorSpec("none", F32, (0,)), GGUFTensorSpec("b", F32, (1,))]
    with GGUFWriter(tmp_path / "x", {"general.alignment": u32(128)}, specs) as out:
        out.write(bytes(4))
        out.write(np.array([7], np.float32))
    assert out.size == (tmp_path / "x").stat().st_size
    with GGUFFile(tmp_path / "x") as file:
        assert file.data_offset % 128 == 0
        assert file.tensors["b"].offset - file.tensors["a"].offset == 128
        assert file.read_rows("b").tolist() == [7]
        assert file.read_rows("none").size == 0


def test_numpy_arrays_and_lists_encode_alike() -> None:
    scores = np.array([0.5, -1], np.float32)
    assert encode_metadata({"s": array(ValueType.FLOAT32, scores)}) == encode_metadata(
        {"s": array(ValueType.FLOAT32, [0.5, -1])}
    )
    assert encode_metadata({"t": array(ValueType.INT32, np.array([3, 1], np.int64))}) == encode_metadata(
        {"t": array(ValueType.INT32, [3, 1])}
    )


@pytest.mark.parametrize(
    "value",
    [
        u32(-1),
        u32(1 << 32),
        i32(1 << 31),
        array(ValueType.INT32, [1 << 31]),
        array(ValueType.INT32, [1.5]),
        array(ValueType.UINT64, [2**64]),
        array(ValueType.FLOAT32, ["a"]),
        Value(ValueType.UINT32, None),
        Value(ValueType.STRING, 3),
        string("\ud800"),
        strings(["a", 3]),  # type: ignore[list-item]
        Value(ValueType.ARRAY, [1]),
        Value(ValueType.ARRAY, [[1]], ValueType.ARRAY),
        array(ValueType.INT32, [[1], [2]]),
    ],
)
@pytest.mark.bad_input("metadata value that does not fit its type")
def test_a_value_that_does_not_fit_its_type_is_named(value: Value) -> None:
    with pytest.raises(UsageError, match=r"^a\.key:"):
        encode_metadata({"a.key": value})


@pytest.mark.parametrize(
    ("specs", "kind", "named"),
    [
        ([GGUFTensorSpec("w", F32, (1,))] * 2, TensorError, "w is to be written twice"),
        ([GGUFTensorSpec("w" * 64, F32, (1,))], TensorError, "longer than the 63"),
        ([GGUFTensorSpec("w", F32, (1, 1, 1, 1, 1))], ShapeError, "w has 5"),
        ([GGUFTensorSpec("w", 99, (1,))], UnknownTypeError, "w.* 99"),
        ([GGUFTensorSpec("w", Q8_0, (2, 40))], ShapeError, "w: rows of 40"),
    ],
)
@pytest.mark.bad_input("tensors that a GGUF cannot hold")
def test_tensors_that_cannot_be_written_are_named_before_anything_is(
    tmp_path: Path, specs: list[GGUFTensorSpec], kind: type[ConchError], named: str
) -> None:
    with pytest.raises(kind, match=named):
        GGUFWriter(tmp_path / "x", {}, specs)
    assert list(tmp_path.iterdir()) == []


def test_metadata_with_an_alignment_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"general\.alignment is 12"):
        GGUFWriter(tmp_path / "x", {"general.alignment": u32(12)}, [])


@pytest.mark.bad_input("too few or too many bytes for a tensor")
def test_bytes_that_were_not_announced_leave_nothing(tmp_path: Path) -> None:
    specs = [GGUFTensorSpec("a", F32, (2,)), GGUFTensorSpec("b", F32, (2,))]
    with pytest.raises(ShapeError, match="tensor a, which lacks 4"), GGUFWriter(tmp_path / "x", {}, specs) as out:
        out.write(bytes(4))
        out.write(bytes(8))  # would run into the next tensor
    with pytest.raises(ShapeError, match="tensor b lacks 8"), GGUFWriter(tmp_path / "x", {}, specs) as out:
        out.write(bytes(8))
    with pytest.raises(ShapeError, match="tensor none"), GGUFWriter(tmp_path / "x", {}, specs) as out:
        out.write(bytes(8))
        out.write(bytes(8))
        out.write(bytes(1))
    assert list(tmp_path.iterdir()) == []


def test_an_exception_leaves_an_older_file_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), GGUFWriter(tmp_path / "x", {"a": f32(1)}, [GGUFTensorSpec("w", F32, (2,))]):
        raise KeyboardInterrupt
    assert (tmp_path / "x").read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [tmp_path / "x"]


def test_a_disk_that_is_full_for_the_header_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise NoSpaceError("no space left")

    monkeypatch.setattr("conch_ollama.formats.partial_file.PartialFile.write", full)
    with pytest.raises(NoSpaceError), GGUFWriter(tmp_path / "x", {}, []):
        pass
    assert list(tmp_path.iterdir()) == []
