"""Hugging Face folders as weight sources, and every way in which such a folder can be none."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conch_ollama.errors import (
    BadConfigError,
    BadFileError,
    BadSafetensorsError,
    ConchError,
    MissingTensorError,
    NotFoundError,
    QuantizedBaseError,
    ShapeError,
    TruncatedFileError,
    UnconsumedTensorError,
    UsageError,
)
from conch_ollama.formats.floats import float32_from_bf16
from conch_ollama.sources.folder import HuggingFaceFolder
from conch_ollama.sources.weights import WeightSource
from tests.sources.model_folders import bf16, f32, write_folder, write_index, write_safetensors

RNG = np.random.default_rng(0)
EMBED = RNG.standard_normal((8, 4)).astype(np.float32)
NORM = RNG.standard_normal(4).astype(np.float32)
CUBE = RNG.standard_normal((2, 3, 4)).astype(np.float32)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"


@pytest.mark.parametrize("sharded", [False, True])
def test_rows_are_read_as_float32(tmp_path: Path, sharded: bool) -> None:
    first, second = {"embed": bf16(EMBED), "norm": f32(NORM)}, {"cube": f32(CUBE), "one": f32(np.array(2.0))}
    folder = write_folder(tmp_path / "贝壳 model", [first, second] if sharded else [{**first, **second}])
    source: WeightSource = HuggingFaceFolder(folder)
    assert source.description == str(folder)
    assert source.config["model_type"] == "llama"
    assert {name: (info.dtype, info.shape) for name, info in source.tensors.items()} == {
        "embed": ("BF16", (8, 4)),
        "norm": ("F32", (4,)),
        "cube": ("F32", (2, 3, 4)),
        "one": ("F32", ()),
    }
    rounded = float32_from_bf16(bf16(EMBED)[1])
    assert np.array_equal(source.read("embed", 2, 7), rounded[2:7])
    assert np.array_equal(source.read("norm", 1, 3), NORM[1:3])
    assert np.array_equal(source.read("cube", 0, 2), CUBE.reshape(2, 12))
    assert source.read("one", 0, 1).tolist() == [2]
    assert source.read("embed", 4, 4).shape == (0, 4)
    changed = source.read("norm", 0, 4)
    changed += 1
    assert np.array_equal(source.read("norm", 0, 4), NORM)
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(lambda row: source.read("embed", row, row + 1), range(8)))
    assert np.array_equal(np.concatenate(rows), rounded)
    source.close()


def test_a_byte_order_mark_and_chinese_in_the_config_do_no_harm(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, [{"norm": f32(NORM)}])
    (folder / "config.json").write_text(json.dumps({"a": "海螺"}, ensure_ascii=False), encoding="utf-8-sig")
    assert HuggingFaceFolder(folder).config["a"] == "海螺"


def test_a_single_file_is_preferred_to_an_index_as_transformers_does(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, [{"a": f32(NORM)}, {"b": f32(NORM)}])
    write_safetensors(folder / "model.safetensors", {"c": f32(NORM)})
    assert list(HuggingFaceFolder(folder).tensors) == ["c"]


def test_asking_for_what_is_not_there(tmp_path: Path) -> None:
    source = HuggingFaceFolder(write_folder(tmp_path, [{"norm": f32(NORM)}]))
    with pytest.raises(MissingTensorError, match="no tensor embed"):
        source.read("embed", 0, 1)
    with pytest.raises(ShapeError, match="4 rows, not 3 to 5"):
        source.read("norm", 3, 5)


def two_shards(folder: Path) -> Path:
    return write_folder(folder, [{"a": f32(NORM)}, {"b": f32(NORM)}])


SECOND = "model-00002-of-00002.safetensors"


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": ', encoding="utf-8")


def config_is_a_list(folder: Path) -> None:
    (folder / "config.json").write_text("[]", encoding="utf-8")


def config_is_latin(folder: Path) -> None:
    (folder / "config.json").write_bytes(b'{"a": "\xe9"}')


def config_is_a_pointer(folder: Path) -> None:
    (folder / "config.json").write_bytes(LFS)


def adapter(folder: Path) -> None:
    without_config(folder)
    (folder / "adapter_config.json").write_text("{}", encoding="utf-8")


def cache(folder: Path) -> None:
    without_config(folder)
    (folder / "snapshots").mkdir()


def without_weights(folder: Path) -> None:
    for path in folder.glob("model*"):
        path.unlink()


def only_a_gguf(folder: Path) -> None:
    without_weights(folder)
    (folder / "model.gguf").write_bytes(b"GGUF")


def only_consolidated(folder: Path) -> None:
    without_weights(folder)
    (folder / "consolidated.00.pth").write_bytes(b"")


def missing_shard(folder: Path) -> None:
    (folder / SECOND).unlink()


def shard_cut_short(folder: Path) -> None:
    content = (folder / SECOND).read_bytes()
    (folder / SECOND).write_bytes(content[:-1])


def shard_is_a_pointer(folder: Path) -> None:
    (folder / SECOND).write_bytes(LFS)


def shard_is_html(folder: Path) -> None:
    (folder / SECOND).write_bytes(b"<!doctype html><html>")


def index_names_a_tensor_too_many(folder: Path) -> None:
    write_index(folder, {"a": "model-00001-of-00002.safetensors", "b": SECOND, "c": SECOND})


def index_lacks_a_tensor(folder: Path) -> None:
    write_safetensors(folder / SECOND, {"b": f32(NORM), "c": f32(NORM)})


def index_without_map(folder: Path) -> None:
    write_index(folder, None)


def index_leads_outside(folder: Path) -> None:
    write_index(folder, {"a": "../other/model.safetensors"})


CAUSES: dict[Callable[[Path], None], tuple[type[ConchError], str]] = {
    without_config: (NotFoundError, "no config.json"),
    broken_config: (BadConfigError, r"config\.json is no JSON"),
    config_is_a_list: (BadConfigError, r"config\.json holds no JSON object"),
    config_is_latin: (BadConfigError, r"config\.json is no JSON"),
    config_is_a_pointer: (BadConfigError, "git-lfs pointer"),
    adapter: (UsageError, "holds an adapter, not a base"),
    cache: (NotFoundError, "hub cache"),
    without_weights: (NotFoundError, "no weights"),
    only_a_gguf: (NotFoundError, "no weights"),
    only_consolidated: (NotFoundError, "no weights"),
    missing_shard: (NotFoundError, f"1 of 2 shards .*{SECOND}"),
    shard_cut_short: (TruncatedFileError, f"{SECOND} is cut short: tensor b"),
    shard_is_a_pointer: (BadFileError, f"{SECOND} is a git-lfs pointer"),
    shard_is_html: (BadSafetensorsError, f"{SECOND} is no safetensors file"),
    index_names_a_tensor_too_many: (MissingTensorError, rf"c \({SECOND}\)"),
    index_lacks_a_tensor: (UnconsumedTensorError, rf"c \({SECOND}\)"),
    index_without_map: (BadConfigError, "no weight_map"),
    index_leads_outside: (BadConfigError, r"a in '\.\./other"),
}


@pytest.mark.parametrize(
    ("damage", "kind", "named"),
    [
        pytest.param(damage, *expected, marks=pytest.mark.bad_input(f"base folder: {damage.__name__}"))
        for damage, expected in CAUSES.items()
    ],
    ids=[damage.__name__ for damage in CAUSES],
)
def test_a_folder_that_is_no_base_is_refused(
    tmp_path: Path, damage: Callable[[Path], None], kind: type[ConchError], named: str
) -> None:
    folder = two_shards(tmp_path / "base")
    damage(folder)
    before = sorted(folder.rglob("*"))
    with pytest.raises(kind, match=named) as caught:
        HuggingFaceFolder(folder)
    assert type(caught.value) is kind
    assert str(folder) in caught.value.message
    assert caught.value.hint
    assert sorted(folder.rglob("*")) == before


def test_hints_say_what_to_give_instead(tmp_path: Path) -> None:
    folder = two_shards(tmp_path / "base")
    only_a_gguf(folder)
    with pytest.raises(NotFoundError) as caught:
        HuggingFaceFolder(folder)
    assert str(folder / "model.gguf") in (caught.value.hint or "")
    adapter(folder)
    with pytest.raises(UsageError) as caught_usage:
        HuggingFaceFolder(folder)
    assert f"--adapter {folder}" in (caught_usage.value.hint or "")


@pytest.mark.bad_input("base folder that is a file, or not there")
def test_a_path_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for name in ("file", "nowhere"):
        with pytest.raises(NotFoundError, match=name):
            HuggingFaceFolder(tmp_path / name)


@pytest.mark.parametrize(
    ("quantization", "method"),
    [
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        ({"load_in_8bit": True}, "bitsandbytes"),
        ({"quant_method": "gptq", "bits": 4}, "gptq"),
        ({"quant_method": "awq"}, "awq"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        ({"bits": 4}, "unknown"),
        ("int4", "unknown"),
        ({"quant_method": "compressed-tensors", "format": "pack-quantized"}, "compressed-tensors"),
        ({"quant_method": "fp8"}, "fp8"),
    ],
)
@pytest.mark.bad_input("quantised base")
def test_a_quantised_base_is_refused_with_the_one_to_use(tmp_path: Path, quantization: Any, method: str) -> None:
    tensors = {"w.weight_packed": ("I32", np.zeros((2, 2), np.int32)), "norm": f32(NORM)}
    config = {"quantization_config": quantization, "_name_or_path": "Qwen/Qwen2.5-0.5B-Instruct"}
    folder = write_folder(tmp_path, [tensors], config)
    with pytest.raises(QuantizedBaseError, match=f"quantised by {method}") as caught:
        HuggingFaceFolder(folder)
    assert caught.value.code == "quantized-base"
    assert str(folder) in caught.value.message
    assert "Qwen/Qwen2.5-0.5B-Instruct" in (caught.value.hint or "")
