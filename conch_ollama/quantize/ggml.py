"""ggml's own quantisers through ctypes, from a prebuilt library that is on the machine anyway. Does no arithmetic.

Two builds of ggml agree in the simple types; in the k-quants another compiler may round a last bit otherwise.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from conch_ollama.errors import NoKernelError
from conch_ollama.formats.ggml_types import GGML_TYPES
from conch_ollama.quantize.checks import checked, too_large
from conch_ollama.quantize.types import GGML, row_bytes, type_name

_FILE_NAMES = {"win32": ("ggml-base.dll", "libggml-base.dll"), "darwin": ("libggml-base.dylib",)}.get(
    sys.platform, ("libggml-base.so", "libggml-base.so.0")
)


class GgmlKernel:
    """`ggml_quantize_chunk` of one library. ctypes gives the GIL back while it runs."""

    types = frozenset(GGML.values())

    def __init__(self, path: Path) -> None:
        """Load the library at `path`; raises `NoKernelError` if it is not one, or lays out its blocks otherwise."""
        self.path = path
        self._initialised: set[int] = set()
        self._lock = threading.Lock()
        try:
            library = ctypes.CDLL(str(path))
            self._bind(library)
        except (OSError, AttributeError) as err:
            raise NoKernelError(f"{path} can't be used to quantise: {err}") from err
        for type in self.types:
            block = GGML_TYPES[type]
            if (self._block_elements(type), self._block_bytes(type)) != (block.elements, block.bytes):
                raise NoKernelError(f"{path} has other blocks for {block.name} than conch writes")
        self.name = f"ggml{_version(library)} ({path.name})"

    def _bind(self, library: ctypes.CDLL) -> None:
        # Signatures: ggml.h. Every name is looked up here, so that a library without one fails at once.
        self._init = library.ggml_quantize_init
        self._init.argtypes, self._init.restype = [ctypes.c_int], None
        self._chunk = library.ggml_quantize_chunk
        pointer, count = ctypes.c_void_p, ctypes.c_int64
        self._chunk.argtypes = [ctypes.c_int, pointer, pointer, count, count, count, pointer]
        self._chunk.restype = ctypes.c_size_t
        self._valid = library.ggml_validate_row_data
        self._valid.argtypes, self._valid.restype = [ctypes.c_int, pointer, ctypes.c_size_t], ctypes.c_bool
        self._block_elements = library.ggml_blck_size
        self._block_elements.argtypes, self._block_elements.restype = [ctypes.c_int], ctypes.c_int64
        self._block_bytes = library.ggml_type_size
        self._block_bytes.argtypes, self._block_bytes.restype = [ctypes.c_int], ctypes.c_size_t

    def quantize(
        self, rows: NDArray[np.float32], type: int, *, tensor: str = "the tensor", first_row: int = 0
    ) -> NDArray[np.uint8]:
        """Rows (n, columns) to (n, row_bytes); errors as `Kernel.quantize`."""
        if type not in self.types:
            raise NoKernelError(f"{self.name} is not used for {type_name(type)}")
        rows = checked(rows, type, tensor, first_row)
        self._initialise(type)
        out = np.empty((len(rows), row_bytes(type, rows.shape[1])), dtype=np.uint8)
        if not out.size:
            return out
        self._chunk(type, rows.ctypes.data, out.ctypes.data, 0, len(rows), rows.shape[1], None)
        if not self._valid(type, out.ctypes.data, out.nbytes):
            raise too_large(rows, type, tensor, first_row)
        return out

    def _initialise(self, type: int) -> None:
        """Let ggml make the tables of a type, before several threads ask for them at once."""
        with self._lock:
            if type not in self._initialised:
                self._init(type)
                self._initialised.add(type)


def _version(library: ctypes.CDLL) -> str:
    """The version with a space before it, or nothing: older builds don't tell theirs."""
    try:
        tell = library.ggml_version
    except AttributeError:
        return ""
    tell.restype = ctypes.c_char_p
    return " " + bytes(tell()).decode("ascii", errors="replace")


def load_ggml() -> GgmlKernel | None:
    """The first library that can be used, or None."""
    for path in library_candidates():
        try:
            return GgmlKernel(path)
        except NoKernelError:
            continue
    return None


def library_candidates() -> Iterator[Path]:
    """Files that may hold ggml's quantisers, the preferred first: llama-cpp-python's, xllamacpp's, Ollama's.

    xllamacpp's Windows build exports nothing, which shows when it is tried. No package is imported.
    """
    for folder in _package_folders("llama_cpp"):
        yield from _present(folder / "lib")
    for folder in _package_folders("xllamacpp"):
        yield from sorted(path for path in folder.glob("xllamacpp*") if path.suffix in (".so", ".dylib", ".pyd"))
    for folder in _ollama_folders():
        yield from _present(folder)


def _present(folder: Path) -> Iterator[Path]:
    yield from (folder / name for name in _FILE_NAMES if (folder / name).is_file())


def _package_folders(package: str) -> list[Path]:
    spec = importlib.util.find_spec(package)
    return [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []


def _ollama_folders() -> Iterator[Path]:
    program = shutil.which("ollama")
    if program:
        folder = Path(os.path.realpath(program)).parent
        yield from (folder / "lib" / "ollama", folder.parent / "lib" / "ollama", folder)
    if sys.platform == "darwin":
        yield Path("/Applications/Ollama.app/Contents/Resources")
