"""The names of file types are those of llama.cpp's own package."""

from __future__ import annotations

from gguf.constants import LlamaFileType

from conch_ollama.formats.file_types import FILE_TYPE_NAMES


def test_every_name_is_that_of_the_package() -> None:
    theirs = {int(kind): kind.name.removeprefix("MOSTLY_").removeprefix("ALL_") for kind in LlamaFileType}
    assert {number: name for number, name in FILE_TYPE_NAMES.items() if theirs.get(number, name) != name} == {}
    assert theirs.keys() - FILE_TYPE_NAMES.keys() <= {1024}, "what is no type but a guess"
