"""Floats against torch's, safetensors files against the format's own library, in both directions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from conch_ollama.formats.floats import bf16_from_float32, float32_from_bf16, float32_from_f8
from conch_ollama.formats.safetensors import SafetensorsFile, SafetensorsWriter
from conch_ollama.formats.tensors import TensorInfo


def test_rounding_to_bf16_is_torchs_for_every_pattern_of_the_upper_bits() -> None:
    upper = np.arange(1 << 16, dtype=np.uint32) << 16
    for lower in (0x0000, 0x0001, 0x7FFF, 0x8000, 0x8001, 0xFFFF):
        values = (upper | np.uint32(lower)).view(np.float32)
        theirs = torch.from_numpy(values.copy()).bfloat16().view(torch.uint16).numpy()
        ours = bf16_from_float32(values)
        numbers = ~np.isnan(values)
        assert np.array_equal(ours[numbers], theirs[numbers])
        assert np.isnan(float32_from_bf16(ours[~numbers])).all()  # torch drops a NaN's sign, ggml keeps it, so do we


def test_8_bit_floats_are_torchs() -> None:
    bits = np.arange(256, dtype=np.uint8)
    for name, dtype in (("F8_E4M3", torch.float8_e4m3fn), ("F8_E5M2", torch.float8_e5m2)):
        theirs = torch.from_numpy(bits.copy()).view(dtype).float().numpy()
        assert np.array_equal(float32_from_f8(bits, name), theirs, equal_nan=True)


def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "bf16": torch.randn(7, 5).bfloat16(),
        "f16": torch.randn(3, 2, 4).half(),
        "f32": torch.randn(9),
        "f64": torch.randn(2, 2).double(),
        "scalar": torch.tensor(1.5),
        "贝壳": torch.zeros(0, 4),
        "i64": torch.arange(3),
        "f8": torch.randn(4, 4).to(torch.float8_e4m3fn),
    }


def test_files_of_the_formats_library_read_as_it_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file(weights(), path, {"format": "pt"})
    with SafetensorsFile(path) as file, safe_open(path, "pt") as reference:
        assert file.metadata == reference.metadata()
        assert set(file.tensors) == set(reference.keys())
        for name, info in file.tensors.items():
            tensor = reference.get_tensor(name)
            assert info.shape == tuple(tensor.shape)
            assert info.dtype == reference.get_slice(name).get_dtype()
            assert file.read_raw(name).tobytes() == tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            if info.dtype not in ("I64", "F8_E4M3"):
                assert np.array_equal(file.read(name), tensor.float().numpy())


def test_the_formats_library_reads_what_we_write(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
    save_file(weights(), theirs, {"format": "pt"})
    with SafetensorsFile(theirs) as source:
        infos = [TensorInfo(name, info.dtype, info.shape) for name, info in source.tensors.items()]
        with SafetensorsWriter(ours, infos, source.metadata) as out:
            for info in infos:
                out.write(source.read_raw(info.name))
    read = load_file(ours)
    for name, tensor in weights().items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(
            read[name].view(torch.uint8) if name == "f8" else read[name],
            tensor.view(torch.uint8) if name == "f8" else tensor,
        )
