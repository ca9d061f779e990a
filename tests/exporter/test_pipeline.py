"""One pass writes every file: right values, right order, nothing left behind when it fails."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conch_ollama.architectures.table import architecture_for
from conch_ollama.errors import ConchError
from conch_ollama.exporter.pipeline import run_plan
from conch_ollama.exporter.plan import Plan, plan_export
from conch_ollama.formats.gguf_reader import GGUFFile
from conch_ollama.formats.metadata import string
from conch_ollama.formats.safetensors import SafetensorsFile
from conch_ollama.sources.folder import HuggingFaceFolder
from tests.parts.tiny import write_model


def _plan(folder: Path, targets: dict[str, Path], hugging_face: Path | None = None) -> Plan:
    source = HuggingFaceFolder(folder)
    architecture = architecture_for(source.config)
    metadata = {"general.architecture": string(architecture.name), **architecture.metadata(source.config)}
    return plan_export(source, architecture, metadata, targets=targets, hugging_face=hugging_face)


@pytest.mark.parametrize("model_type", ["llama", "qwen2", "qwen3"])
def test_f32_holds_the_source_rows_in_gguf_order(tmp_path: Path, model_type: str) -> None:
    plan = _plan(write_model(tmp_path / "base", model_type), {"f32": tmp_path / "x.gguf"})
    run_plan(plan, threads=2)
    with GGUFFile(tmp_path / "x.gguf") as file, closing(HuggingFaceFolder(tmp_path / "base")) as source:
        assert set(file.tensors) == {output.name for output in plan.outputs}
        for output in plan.outputs:
            assert output.source is not None
            wanted = source.read(output.source, 0, output.shape[0])
            if output.order is not None:
                wanted = wanted[output.order]
            np.testing.assert_array_equal(file.read_rows(output.name, 0, output.shape[0]), wanted)


def test_several_types_and_the_folder_come_from_one_read(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base", shards=3)
    types = {"q8_0": tmp_path / "a.gguf", "f16": tmp_path / "b.gguf", "q4_0": tmp_path / "c.gguf"}
    plan = _plan(base, types, tmp_path / "hf")
    reads: list[tuple[str, int, int]] = []
    read = plan.source.read

    def counted(name: str, start: int, stop: int) -> Any:
        reads.append((name, start, stop))
        return read(name, start, stop)

    plan.source.read = counted  # type: ignore[method-assign]
    written = run_plan(plan, threads=2)
    assert len(reads) == len(set(reads))
    assert [Path(file.path).name for file in written] == ["a.gguf", "b.gguf", "c.gguf", "model.safetensors"]
    assert plan.size == sum(Path(file.path).stat().st_size for file in written[:3]) + plan.folder.size  # type: ignore[union-attr]
    with SafetensorsFile(tmp_path / "hf" / "model.safetensors") as merged, closing(HuggingFaceFolder(base)) as source:
        assert set(merged.tensors) == set(source.tensors)
        for name, info in source.tensors.items():
            assert merged.tensors[name].dtype == info.dtype
            np.testing.assert_array_equal(merged.read(name), source.read(name, 0, info.rows))


def test_the_hash_is_the_files(tmp_path: Path) -> None:
    import hashlib

    plan = _plan(write_model(tmp_path / "base"), {"q8_0": tmp_path / "x.gguf"})
    (written,) = run_plan(plan)
    assert written.sha256 == hashlib.sha256((tmp_path / "x.gguf").read_bytes()).hexdigest()
    assert written.size == (tmp_path / "x.gguf").stat().st_size


def test_threads_do_not_change_the_bytes(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    hashes = set()
    for threads in (1, 2, 5):
        (written,) = run_plan(_plan(base, {"q8_0": tmp_path / f"{threads}.gguf"}), threads=threads)
        hashes.add(written.sha256)
    assert len(hashes) == 1


@pytest.mark.bad_input("a weight that is not a number")
def test_a_nan_names_its_tensor_and_leaves_nothing(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base", dtype="F32")
    _poison(base / "model.safetensors", "model.layers.1.mlp.up_proj.weight")
    with pytest.raises(ConchError) as caught:
        run_plan(_plan(base, {"q8_0": tmp_path / "a.gguf", "f32": tmp_path / "b.gguf"}, tmp_path / "hf"))
    assert caught.value.code == "non-finite"
    assert "blk.1.ffn_up.weight" in caught.value.message
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []
    assert list((tmp_path / "hf").glob("*")) == []


@pytest.mark.bad_input("stopped with Ctrl-C in mid-write")
def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    plan = _plan(write_model(tmp_path / "base"), {"q8_0": tmp_path / "a.gguf"}, tmp_path / "hf")

    def stop(done: int, total: int, name: str) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, progress=stop)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []
    assert list((tmp_path / "hf").glob("*")) == []


def _poison(path: Path, name: str) -> None:
    with SafetensorsFile(path) as file:
        names = list(file.tensors)
        tensors = {n: file.read(n).reshape(file.tensors[n].shape) for n in names}
    tensors[name].flat[7] = np.nan
    from tests.parts.tiny import write_safetensors

    write_safetensors(path, tensors)
