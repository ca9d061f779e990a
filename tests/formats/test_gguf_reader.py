"""The GGUF reader against the `gguf` package's on a real file, and against files that are wrong in every way."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from hypothesis import given, settings
from hypothesis import strategies as st

from conch_ollama.errors import (
    BadGGUFError,
    ConchError,
    MissingTensorError,
    NotFoundError,
    ShapeError,
    TruncatedFileError,
    UnknownTypeError,
)
from conch_ollama.formats.ggml_types import GGML_TYPES
from conch_ollama.formats.gguf_reader import GGUFFile
from conch_ollama.formats.metadata import ValueType
from tests.formats import gguf_files as raw


def test_type_numbers_and_block_sizes_are_those_of_ggml() -> None:
    known = {int(kind): (kind.name, *sizes) for kind, sizes in GGML_QUANT_SIZES.items()}
    # The package says 40 bytes for Q8_1, ggml-common.h's block_q8_1 (two halves and 32 bytes) 36. It is never stored.
    known[GGMLQuantizationType.Q8_1] = ("Q8_1", 32, 36)
    assert {number: tuple(block) for number, block in GGML_TYPES.items() if number in known} == known


@pytest.fixture(scope="module")
def reference(smollm2_gguf: Path) -> gguf.GGUFReader:
    """The real file in the reference's reader, which takes seconds to open it."""
    return gguf.GGUFReader(smollm2_gguf)


def test_a_real_file_reads_as_the_reference_reader_reads_it(smollm2_gguf: Path, reference: gguf.GGUFReader) -> None:
    with GGUFFile(smollm2_gguf) as file:
        assert (file.version, file.alignment, file.data_offset) == (3, 32, reference.data_offset)
        fields = {name: field for name, field in reference.fields.items() if not name.startswith("GGUF.")}
        assert list(file.metadata) == list(fields)
        for name, field in fields.items():
            value = file.metadata[name]
            assert value.data == field.contents(), name
            kinds = [int(kind) for kind in field.types]
            assert kinds == [value.type] if value.items is None else [value.type, value.items]
        assert list(file.tensors) == [tensor.name for tensor in reference.tensors]
        for tensor in reference.tensors:
            info = file.tensors[tensor.name]
            assert (info.offset, info.nbytes, info.type) == (tensor.data_offset, tensor.n_bytes, tensor.tensor_type)
            assert info.shape == tuple(reversed(tensor.shape.tolist()))
            assert info.dtype == tensor.tensor_type.name


def test_rows_of_a_real_file_are_those_of_the_reference_dequantisation(
    smollm2_gguf: Path, reference: gguf.GGUFReader
) -> None:
    tensors = {tensor.name: tensor for tensor in reference.tensors}
    with GGUFFile(smollm2_gguf) as file:
        for name in ("blk.3.attn_q.weight", "blk.0.attn_norm.weight", "blk.29.ffn_down.weight"):
            tensor = tensors[name]
            whole = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            assert np.array_equal(file.read_rows(name, 5, 77), whole[5:77])
            assert np.array_equal(file.read_raw(name).tobytes(), np.ascontiguousarray(tensor.data).tobytes())
            assert file.read_rows(name, 4, 4).shape == (0, *whole.shape[1:])
        with ThreadPoolExecutor(4) as pool:
            parts = pool.map(lambda at: file.read_rows("blk.3.attn_q.weight", at, at + 9), range(0, 576, 9))
        tensor = tensors["blk.3.attn_q.weight"]
        assert np.array_equal(np.concatenate(list(parts)), gguf.quants.dequantize(tensor.data, tensor.tensor_type))


def dequantisable() -> list[GGMLQuantizationType]:
    """Every type that the package can dequantise."""
    found = []
    for kind, (_, nbytes) in GGML_QUANT_SIZES.items():
        try:
            gguf.quants.dequantize(np.zeros((1, nbytes), np.uint8), kind)
        except NotImplementedError:
            continue
        found.append(kind)
    return found


@pytest.mark.filterwarnings("ignore:invalid value")  # random scales may be infinite
@pytest.mark.parametrize("kind", dequantisable(), ids=lambda kind: kind.name)
def test_rows_of_every_type_are_those_of_the_whole(tmp_path: Path, kind: GGMLQuantizationType) -> None:
    elements, nbytes = GGML_QUANT_SIZES[kind]
    columns = 2 * elements
    blocks = np.random.default_rng(int(kind)).integers(0, 256, (6, 2 * nbytes), dtype=np.uint8)
    content = raw.gguf([], [raw.tensor("w", (columns, 3, 2), kind, 0)], blocks.tobytes())
    whole = gguf.quants.dequantize(blocks, kind).astype(np.float32)
    with GGUFFile(raw.write(tmp_path / "x", content)) as file:
        assert file.tensors["w"].shape == (2, 3, columns)
        assert np.array_equal(file.read_rows("w").reshape(6, columns), whole, equal_nan=True)
        assert np.array_equal(file.read_rows("w", 1, 2)[0], whole[3:], equal_nan=True)
        assert file.read_rows("w", 1, 1).shape == (0, 3, columns)
        assert file.read_raw("w", 1, 2).tobytes() == blocks[3:].tobytes()


def test_opening_a_large_vocabulary_decodes_nothing_of_it(tmp_path: Path) -> None:
    tokens: list[str | bytes] = [f"tok{number}" * 3 for number in range(300_000)]
    path = raw.write(
        tmp_path / "v.gguf", raw.gguf([raw.texts_entry("tokens", tokens), raw.text_entry("after", "值")], [])
    )
    tracemalloc.start()
    with GGUFFile(path) as file:
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
        tracemalloc.stop()
        assert file.metadata["after"].data == "值"
        assert file.metadata["tokens"].data == tokens
        assert file.metadata["tokens"] is file.metadata["tokens"]


def test_every_kind_of_value(tmp_path: Path) -> None:
    scalars = {
        ValueType.UINT8: ("<B", 255),
        ValueType.INT8: ("<b", -128),
        ValueType.UINT16: ("<H", 65535),
        ValueType.INT16: ("<h", -32768),
        ValueType.UINT32: ("<I", 2**32 - 1),
        ValueType.INT32: ("<i", -(2**31)),
        ValueType.FLOAT32: ("<f", 0.5),
        ValueType.BOOL: ("<?", True),
        ValueType.UINT64: ("<Q", 2**64 - 1),
        ValueType.INT64: ("<q", -(2**63)),
        ValueType.FLOAT64: ("<d", 0.1),
    }
    entries = [raw.entry(kind.name, kind, struct.pack(layout, value)) for kind, (layout, value) in scalars.items()]
    entries += [
        raw.entry(f"{kind.name}s", 9, struct.pack("<IQ", kind, 2) + struct.pack(layout, value) * 2)
        for kind, (layout, value) in scalars.items()
    ]
    entries += [raw.text_entry("text", "贝壳 🐚"), raw.texts_entry("none", []), raw.texts_entry("texts", ["", "é"])]
    with GGUFFile(raw.write(tmp_path / "x", raw.gguf(entries, []))) as file:
        for kind, (_, value) in scalars.items():
            single, several = file.metadata[kind.name], file.metadata[f"{kind.name}s"]
            assert (single.type, single.items, single.data) == (kind, None, value)
            assert (several.type, several.items, several.data) == (ValueType.ARRAY, kind, [value, value])
            assert type(single.data) is type(value)
        assert file.metadata["text"].data == "贝壳 🐚"
        assert file.metadata["none"].data == []
        assert file.metadata["texts"].data == ["", "é"]


def test_version_2_and_another_alignment(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32)
    content = raw.gguf(
        [raw.entry("general.alignment", 4, struct.pack("<I", 64))],
        [raw.tensor("w", (3, 2), 0, 0), raw.tensor("b", (2,), 1, 64)],
        values.tobytes() + bytes(40) + np.array([1, 2], np.float16).tobytes(),
        version=2,
        alignment=64,
    )
    with GGUFFile(raw.write(tmp_path / "x", content)) as file:
        assert (file.version, file.alignment) == (2, 64)
        assert np.array_equal(file.read_rows("w"), values.reshape(2, 3))
        assert file.read_rows("b", 1, 2).tolist() == [2]  # without padding after the last tensor


def test_a_quantised_vector_is_read_in_any_part(tmp_path: Path) -> None:
    values = np.linspace(-1, 1, 64, dtype=np.float32)
    blocks = gguf.quants.quantize(values, GGMLQuantizationType.Q8_0)
    content = raw.gguf([], [raw.tensor("w", (64,), 8, 0)], blocks.tobytes())
    with GGUFFile(raw.write(tmp_path / "x", content)) as file:
        whole = gguf.quants.dequantize(blocks, GGMLQuantizationType.Q8_0)
        assert np.array_equal(file.read_rows("w"), whole)
        assert np.array_equal(file.read_rows("w", 10, 45), whole[10:45])
        assert file.read_raw("w").tobytes() == blocks.tobytes()
        with pytest.raises(ShapeError, match="no whole Q8_0 blocks"):
            file.read_raw("w", 10, 45)


def one(kind: int = 0, shape: tuple[int, ...] = (8,), offset: int = 0) -> list[bytes]:
    return [raw.tensor("w", shape, kind, offset)]


ARCH = raw.text_entry("general.architecture", "llama")
CAUSES: dict[str, tuple[Callable[[], bytes], type[ConchError], str]] = {
    "another kind of file": (lambda: b"PK\x03\x04" + bytes(60), BadGGUFError, "no GGUF"),
    "empty file": (lambda: b"", TruncatedFileError, "cut short"),
    "big-endian file": (lambda: b"GGUF" + struct.pack(">IQQ", 3, 0, 0), BadGGUFError, "big-endian"),
    "version 1": (lambda: b"GGUF" + struct.pack("<IQQ", 1, 0, 0), BadGGUFError, "version 1"),
    "version of the future": (lambda: b"GGUF" + struct.pack("<IQQ", 4, 0, 0), BadGGUFError, "version 4"),
    "absurd number of tensors": (lambda: raw.gguf([], [], counts=(1 << 60, 0)), BadGGUFError, "more than fit"),
    "absurd number of entries": (lambda: raw.gguf([], [], counts=(0, 1 << 60)), BadGGUFError, "more than fit"),
    "absurd length of an array": (
        lambda: raw.gguf([raw.texts_entry("tokens", ["a"], 1 << 60)], [], bytes(64)),
        BadGGUFError,
        "tokens .* more than fit",
    ),
    "absurd length of a string": (
        lambda: raw.gguf([raw.entry("name", 8, struct.pack("<Q", 1 << 62))], []),
        TruncatedFileError,
        "header",
    ),
    "strings that run out of the file": (
        lambda: raw.gguf([raw.texts_entry("tokens", ["a", "b"], 9)], []),
        TruncatedFileError,
        "header",
    ),
    "unknown kind of value": (lambda: raw.gguf([raw.entry("k", 13, bytes(8))], []), BadGGUFError, "k .*type 13"),
    "array of unknown kind": (
        lambda: raw.gguf([raw.entry("k", 9, struct.pack("<IQ", 77, 1))], []),
        BadGGUFError,
        "k .*type 77",
    ),
    "array of arrays": (
        lambda: raw.gguf([raw.entry("k", 9, struct.pack("<IQIQ", 9, 1, 4, 0))], []),
        BadGGUFError,
        "k .*array of arrays",
    ),
    "one key twice": (lambda: raw.gguf([ARCH, ARCH], []), BadGGUFError, "two .*general.architecture"),
    "key that is no UTF-8": (lambda: raw.gguf([raw.entry(b"\xff", 4, bytes(4))], []), BadGGUFError, "UTF-8"),
    "value that is no UTF-8": (lambda: raw.gguf([raw.text_entry("name", b"\xff")], []), BadGGUFError, "name .*UTF-8"),
    "alignment that is no power of two": (
        lambda: raw.gguf([raw.entry("general.alignment", 4, struct.pack("<I", 33))], []),
        BadGGUFError,
        "general.alignment .*33",
    ),
    "one tensor twice": (
        lambda: raw.gguf([], one() + one(offset=32), bytes(64)),
        BadGGUFError,
        "two tensors named w",
    ),
    "tensor of unknown type": (lambda: raw.gguf([], one(99), bytes(32)), BadGGUFError, "w .*type number 99"),
    "tensor of a type that ggml removed": (lambda: raw.gguf([], one(4), bytes(32)), BadGGUFError, "w .*type number 4"),
    "tensor with too many dimensions": (
        lambda: raw.gguf([], one(0, (1, 1, 1, 1, 1)), bytes(32)),
        BadGGUFError,
        "w .*5 dimensions",
    ),
    "tensor of absurd size": (
        lambda: raw.gguf([], one(0, (1 << 40, 1 << 40)), bytes(32)),
        BadGGUFError,
        "w .*absurd",
    ),
    "rows that are no whole blocks": (lambda: raw.gguf([], one(8, (33,)), bytes(64)), BadGGUFError, "w.* 33 .*Q8_0"),
    "tensor that is not aligned": (lambda: raw.gguf([], one(offset=4), bytes(64)), BadGGUFError, "w .*not aligned"),
    "tensor beyond the file's end": (lambda: raw.gguf([], one(offset=64), bytes(64)), TruncatedFileError, "tensor w"),
    "tensors that overlap": (
        lambda: raw.gguf([], [raw.tensor("v", (16,), 0, 0), raw.tensor("w", (8,), 0, 32)], bytes(96)),
        BadGGUFError,
        "v and w .*overlap",
    ),
}


@pytest.mark.parametrize(
    ("content", "kind", "named"),
    [pytest.param(*case, id=name, marks=pytest.mark.bad_input(f"GGUF: {name}")) for name, case in CAUSES.items()],
)
def test_a_wrong_file_is_refused(
    tmp_path: Path, content: Callable[[], bytes], kind: type[ConchError], named: str
) -> None:
    path = raw.write(tmp_path / "bad.gguf", content())
    with pytest.raises(kind, match=named) as caught:
        GGUFFile(path)
    assert type(caught.value) is kind
    assert str(path) in caught.value.message
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.bad_input("GGUF: cut short anywhere")
def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    entries = [ARCH, raw.texts_entry("tokens", ["a", "bc"]), raw.entry("n", 10, bytes(8))]
    whole = raw.gguf(entries, one(), np.ones(8, np.float32).tobytes())
    for length in range(len(whole)):
        with pytest.raises(ConchError, match=r"cut\.gguf") as caught:
            GGUFFile(raw.write(tmp_path / "cut.gguf", whole[:length]))
        assert caught.value.code in ("truncated-file", "bad-gguf")  # the latter where the counts already can't be right
    with GGUFFile(raw.write(tmp_path / "cut.gguf", whole)) as file:
        assert file.read_rows("w").tolist() == [1] * 8


@pytest.mark.bad_input("GGUF: token that is no UTF-8")
def test_a_token_that_is_no_text_is_named_when_it_is_decoded(tmp_path: Path) -> None:
    with GGUFFile(raw.write(tmp_path / "x", raw.gguf([raw.texts_entry("tokens", ["a", b"\xff"])], []))) as file:
        assert "tokens" in file.metadata
        with pytest.raises(BadGGUFError, match=r"tokens\[1\]"):
            file.metadata["tokens"]


def test_asking_for_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        GGUFFile(tmp_path / "x")
    content = raw.gguf([], [raw.tensor("w", (4, 2), 0, 0), raw.tensor("i", (8,), 26, 32)], bytes(64))
    with GGUFFile(raw.write(tmp_path / "x", content)) as file:
        with pytest.raises(MissingTensorError, match="no tensor v"):
            file.read_rows("v")
        with pytest.raises(ShapeError, match="2 rows, not 0 to 3"):
            file.read_rows("w", 0, 3)
        with pytest.raises(UnknownTypeError, match=r"i in .*I32"):
            file.read_rows("i")


@pytest.mark.bad_input("GGUF: type that cannot be dequantised")
def test_a_type_that_cannot_be_dequantised_is_named(tmp_path: Path) -> None:
    content = raw.gguf([], [raw.tensor("w", (256, 1), 15, 0)], bytes(292))
    with (
        GGUFFile(raw.write(tmp_path / "x", content)) as file,
        pytest.raises(UnknownTypeError, match=r"w in .*Q8_K") as caught,
    ):
        file.read_rows("w")
    assert caught.value.hint


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_damage_to_a_header_gives_an_error_of_the_tree_or_a_readable_file(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    entries = [ARCH, raw.texts_entry("tokens", ["a", "bc"]), raw.entry("b", 9, struct.pack("<IQ", 7, 2) + b"\0\1")]
    whole = bytearray(raw.gguf(entries, [raw.tensor("w", (8, 2), 0, 0)], bytes(64)))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 65))] = data.draw(st.integers(0, 255))
    path = raw.write(tmp_path_factory.getbasetemp() / "damaged.gguf", bytes(whole))
    try:
        with GGUFFile(path) as file:
            for key in file.metadata:
                assert file.metadata[key].type in ValueType
            for name, info in file.tensors.items():
                assert file.read_raw(name).size == info.nbytes
    except ConchError:
        pass
