from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gguf
import numpy as np
import pytest

from conch_ollama.errors import NoKernelError
from conch_ollama.quantize import ggml
from conch_ollama.quantize.ggml import GgmlKernel, load_ggml
from conch_ollama.quantize.types import GGML, row_bytes
from tests.parts.ollama import ollama_program
from tests.quantize.rows import ALL_ROWS, random_rows


@pytest.fixture(scope="module")
def kernel() -> GgmlKernel:
    loaded = load_ggml()
    assert loaded is not None
    return loaded


def test_has_every_type_that_conch_writes(kernel: GgmlKernel) -> None:
    assert kernel.types == set(GGML.values())


@pytest.mark.parametrize("type", ["Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_simple_types_equal_the_gguf_packages(type: str, kernel: GgmlKernel) -> None:
    rows = random_rows(50)
    assert np.array_equal(kernel.quantize(rows, GGML[type]), gguf.quantize(rows, gguf.GGMLQuantizationType[type]))


@pytest.mark.parametrize(
    ("type", "error"), [("Q2_K", 0.12), ("Q3_K", 0.05), ("Q4_K", 0.02), ("Q5_K", 0.01), ("Q6_K", 0.005)]
)
def test_k_quants_come_back_near(type: str, error: float, kernel: GgmlKernel) -> None:
    """Which type is which, and rows not interchanged: the mean squared error relative to the weights' own square."""
    rows = np.random.default_rng(1).standard_normal((20, 512)).astype(np.float32)
    raw = kernel.quantize(rows, GGML[type])
    assert raw.shape == (20, row_bytes(GGML[type], 512))
    back = gguf.dequantize(raw, gguf.GGMLQuantizationType[type])
    relative = ((back - rows) ** 2).mean(axis=1) / (rows**2).mean(axis=1)
    assert (relative < error).all()
    assert (relative > error / 20).all()


@pytest.mark.parametrize("type", GGML)
@pytest.mark.parametrize("rows", ALL_ROWS.values(), ids=ALL_ROWS)
def test_takes_every_finite_row(rows: np.ndarray, type: str, kernel: GgmlKernel) -> None:
    back = gguf.dequantize(kernel.quantize(rows, GGML[type]), gguf.GGMLQuantizationType[type])
    assert np.isfinite(back).all()
    assert back.shape == rows.shape


def test_threads_side_by_side_give_the_same_bytes(kernel: GgmlKernel) -> None:
    rows = random_rows(64)
    jobs = [type for type in GGML.values() for _ in range(4)]
    alone = {type: kernel.quantize(rows, type) for type in GGML.values()}
    fresh = GgmlKernel(kernel.path)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda type: fresh.quantize(rows, type), jobs))
    assert all(np.array_equal(made, alone[type]) for type, made in zip(jobs, together, strict=True))


def test_rows_that_are_not_contiguous_or_of_another_float(kernel: GgmlKernel) -> None:
    rows = random_rows(16)
    wanted = kernel.quantize(rows, GGML["Q6_K"])
    spread = np.zeros((16, 512), dtype=np.float32)
    spread[:, ::2] = rows
    assert np.array_equal(kernel.quantize(spread[:, ::2], GGML["Q6_K"]), wanted)
    assert np.array_equal(kernel.quantize(np.asfortranarray(rows), GGML["Q6_K"]), wanted)
    assert np.array_equal(kernel.quantize(rows.astype(np.float64), GGML["Q6_K"]), wanted)  # type: ignore[arg-type]


def test_no_rows_are_no_bytes(kernel: GgmlKernel) -> None:
    assert kernel.quantize(np.empty((0, 256), dtype=np.float32), GGML["Q4_K"]).shape == (0, 144)


def test_finding_a_library_imports_no_package() -> None:
    """llama_cpp and xllamacpp initialise their back ends when imported, which takes time and memory."""
    code = "from conch_ollama.quantize.kernels import kernel_for; import sys; kernel_for(12)\n"
    code += "assert not {'llama_cpp', 'xllamacpp', 'gguf'} & set(sys.modules), sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


_ONLY_OLLAMAS = """
import importlib.util, sys
from pathlib import Path
import numpy as np
importlib.util.find_spec = lambda package: None
from conch_ollama.quantize.ggml import load_ggml
from conch_ollama.quantize.numpy_kernels import NumpyKernel
from tests.quantize.rows import random_rows
kernel = load_ggml()
rows = random_rows(20)
assert all(np.array_equal(kernel.quantize(rows, t), NumpyKernel().quantize(rows, t)) for t in NumpyKernel.types)
print(kernel.path)
"""


def test_the_library_that_comes_with_ollama_serves_too(tmp_path: Path) -> None:
    """Where neither package exports the quantisers, as on Windows. In a process of its own: the build provisioned here
    needs libraries beside it that the dynamic linker looks for at the start."""
    program = ollama_program().resolve()
    folder = tmp_path / "on the PATH"
    folder.mkdir()
    (folder / ("ollama.exe" if sys.platform == "win32" else "ollama")).symlink_to(program)
    environment = os.environ | {"PATH": str(folder), "LD_LIBRARY_PATH": str(program.parent)}
    done = subprocess.run([sys.executable, "-c", _ONLY_OLLAMAS], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = Path(done.stdout.strip())
    assert "ggml-base" in found.name
    assert found.is_relative_to(program.parent.parent)


@pytest.mark.bad_input("a file that is no library where ggml's is expected")
def test_a_file_that_is_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "libggml-base.so"
    broken.write_bytes(b"\x7fELF but cut off")
    with pytest.raises(NoKernelError) as caught:
        GgmlKernel(broken)
    assert caught.value.code == "no-kernel"
    assert str(broken) in caught.value.message
    working = load_ggml()
    assert working is not None
    monkeypatch.setattr(ggml, "library_candidates", lambda: iter([broken, working.path]))
    assert load_ggml() is not None, "one broken library must not hide the next"


@pytest.mark.bad_input("a library that exports no quantisers")
def test_a_library_without_quantisers() -> None:
    spec = importlib.util.find_spec("_ctypes")
    assert spec is not None
    assert spec.origin is not None
    with pytest.raises(NoKernelError) as caught:
        GgmlKernel(Path(spec.origin))
    assert caught.value.code == "no-kernel"
    assert spec.origin in caught.value.message
