"""The models' own chat templates as published packages carry them, to hold the committed and written ones against.

Two sources: the tokenizer packages of oracle.py, and the llama.cpp inside the source package of llama-cpp-python, as
files and inside its test of chat templates. CONCH_REFERENCE_LLAMA_CPP may name the latter's unpacked folder (it holds
vendor/); else it is fetched (73 MB). Nothing of them is copied into the repository unless its licence allows it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
from functools import cache
from pathlib import Path

import httpx

from tests.parts.cache import provide
from tests_reference.oracle import real_tokenizer

_NAME = "llama_cpp_python-0.3.36"
_URL = (
    "https://files.pythonhosted.org/packages/ec/e9/e7de2b0463ea3ffbf0ede6cb21b58c1258a8f6521aae45ca773a59fe7cf3/"
    f"{_NAME}.tar.gz"
)
_SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
_TEST = "vendor/llama.cpp/tests/test-chat-template.cpp"
_TEMPLATES = "vendor/llama.cpp/models/templates/"

# A case of that test: its name, and its template as a C++ string.
_CASE = re.compile(
    r'/\* \.name= \*/ "(.*?)",.*?/\* \.template_str=? \*/ (?:u8)?(?:U8C\()?"((?:\\.|[^"\\])*)"', re.DOTALL
)


def packaged(name: str) -> str:
    """The template that `package` of templates/index.toml names: `npm:NAME`, `inline:CASE` or the name of a file."""
    if name.startswith("npm:"):
        config = json.loads((real_tokenizer(name[4:]) / "tokenizer_config.json").read_text(encoding="utf-8"))
        return str(config["chat_template"])
    if name.startswith("inline:"):
        return _cases()[name[7:]]
    return (_llama_cpp() / _TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")


@cache
def _cases() -> dict[str, str]:
    text = (_llama_cpp() / _TEST).read_text(encoding="utf-8")
    return {name: _unescaped(template) for name, template in _CASE.findall(text)}


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: {"n": "\n", "t": "\t"}.get(found[1], found[1]), text)


def _llama_cpp() -> Path:
    named = os.environ.get("CONCH_REFERENCE_LLAMA_CPP")
    return Path(named) if named else provide(f"chat-templates-{_NAME}", _fetch)


def _fetch(folder: Path) -> None:
    archive = folder / "source.tar.gz"
    with httpx.stream("GET", _URL, timeout=600, follow_redirects=True) as answer, archive.open("wb") as file:
        answer.raise_for_status()
        for chunk in answer.iter_bytes():
            file.write(chunk)
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != _SHA256:
        raise AssertionError(f"{_URL}: sha256 {found}, should be {_SHA256}")
    with tarfile.open(archive) as package:
        for member in package:
            path = member.name.removeprefix(f"{_NAME}/")
            if path == _TEST or (path.startswith(_TEMPLATES) and path.endswith(".jinja")):
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                if content := package.extractfile(member):
                    target.write_bytes(content.read())
    archive.unlink()
