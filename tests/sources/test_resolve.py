"""What a text means as a base: paths, hub ids, names of Ollama's; and what is said when it means nothing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from conch_ollama.errors import (
    BadFileError,
    BadGGUFError,
    ConchError,
    HubError,
    NotFoundError,
    NotSupportedError,
    UsageError,
)
from conch_ollama.formats.gguf_writer import GGUFTensorSpec, GGUFWriter
from conch_ollama.formats.metadata import Value, string, u32
from conch_ollama.sources.resolve import Base, resolve_base
from tests.sources.model_folders import f32, write_folder
from tests.sources.ollama_models import write_model

LLAMA = {"general.architecture": string("llama")}


@pytest.fixture(autouse=True)
def nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Ollama store, no hub that could answer, an empty folder to stand in."""
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "ollama"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def write_gguf(path: Path, metadata: dict[str, Value], *, tensors: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    specs = [GGUFTensorSpec("w", 0, (2,))] if tensors else []
    with GGUFWriter(path, metadata, specs) as out:
        if tensors:
            out.write(np.zeros(2, np.float32))
    return path


def test_a_folder(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "my 模型", [{"w": f32([1])}])
    (folder / "README.md").write_text("---\nlicense: mit\n---\n", encoding="utf-8")
    expected = Base("folder", folder, "my 模型", None, None, "mit", "folder")
    assert resolve_base(folder) == expected
    assert resolve_base(str(folder)) == expected


def test_a_folder_by_a_relative_path_has_a_name(nothing_else: Path) -> None:
    write_folder(nothing_else, [{"w": f32([1])}])
    assert resolve_base(".").name == "here"


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write_folder(tmp_path / "base", [{"w": f32([1])}])
    assert resolve_base("~/base").path == tmp_path / "base"


def test_an_existing_path_comes_before_a_hub_id_and_an_ollama_model(nothing_else: Path, tmp_path: Path) -> None:
    write_folder(nothing_else / "org" / "name", [{"w": f32([1])}])
    write_model(tmp_path / "ollama", "registry.ollama.ai/org/name/latest", [("model", b"GGUF")])
    assert resolve_base("org/name").origin == "folder"


def test_a_hub_cache_and_a_snapshot_in_it(tmp_path: Path) -> None:
    cache = tmp_path / "hub" / "models--Qwen--Qwen3-0.6B"
    snapshot = write_folder(cache / "snapshots" / ("a" * 40), [{"w": f32([1])}])
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("a" * 40, encoding="utf-8")
    expected = Base("folder", snapshot, "Qwen3-0.6B", "Qwen/Qwen3-0.6B", "a" * 40, None, "hub cache")
    assert resolve_base(cache) == expected
    assert resolve_base(cache, revision="main") == expected
    assert resolve_base(snapshot) == expected
    with pytest.raises(NotFoundError, match="v9"):
        resolve_base(cache, revision="v9")


def test_a_gguf_says_its_licence_and_repository(tmp_path: Path) -> None:
    metadata = {
        **LLAMA,
        "general.license": string("apache-2.0"),
        "general.repo_url": string("https://huggingface.co/HuggingFaceTB/SmolLM2-135M"),
    }
    path = write_gguf(tmp_path / "Some.Model.gguf", metadata)
    expected = Base("gguf", path, "Some.Model", "HuggingFaceTB/SmolLM2-135M", None, "apache-2.0", "file")
    assert resolve_base(path) == expected
    assert resolve_base(write_gguf(tmp_path / "no-ending", LLAMA)).kind == "gguf"


def test_a_folder_with_nothing_but_one_gguf_means_the_gguf(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "out" / "conch.gguf", LLAMA)
    assert resolve_base(tmp_path / "out").path == path


def test_a_model_of_the_local_ollama(tmp_path: Path) -> None:
    content = write_gguf(tmp_path / "x.gguf", LLAMA).read_bytes()
    (blob,) = write_model(tmp_path / "ollama", "registry.ollama.ai/library/qwen2.5/0.5b", [("model", content)])
    for text in ("qwen2.5:0.5b", "ollama:qwen2.5:0.5b", "ollama:library/qwen2.5:0.5b"):
        base = resolve_base(text)
        assert (base.kind, base.path, base.name, base.origin) == ("gguf", blob, "qwen2.5:0.5b", "ollama")
        assert base.ollama is not None
        assert base.ollama.short == "qwen2.5:0.5b"


@pytest.mark.bad_input("name that means a hub id and an Ollama model")
def test_an_ambiguous_name_is_not_guessed(tmp_path: Path) -> None:
    content = write_gguf(tmp_path / "x.gguf", LLAMA).read_bytes()
    write_model(tmp_path / "ollama", "registry.ollama.ai/me/conch/latest", [("model", content)])
    with pytest.raises(NotFoundError, match="two models") as caught:
        resolve_base("me/conch")
    assert "ollama:me/conch" in (caught.value.hint or "")
    assert "hf:me/conch" in (caught.value.hint or "")
    assert resolve_base("ollama:me/conch").origin == "ollama"
    assert resolve_base("me/conch:latest").origin == "ollama"  # a tag is Ollama's alone
    with pytest.raises(HubError, match=r"127\.0\.0\.1:9"):
        resolve_base("hf:me/conch")


@pytest.mark.bad_input("base that is nowhere")
def test_what_is_nowhere_says_everything_that_was_tried(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        resolve_base("conch-base")
    assert "conch-base" in caught.value.message
    assert "no such path" in caught.value.message
    assert "no hub id" in caught.value.message
    assert str(tmp_path / "ollama") in caught.value.message
    with pytest.raises(HubError) as caught_hub:
        resolve_base("org/conch-base")
    for tried in ("org/conch-base", "127.0.0.1:9", "the path org/conch-base", str(tmp_path / "ollama")):
        assert tried in caught_hub.value.message


@pytest.mark.parametrize(
    "text", ["./base", "../base", "/no/such/base", "~/no/such", "a/b/c/d", "x.gguf", "C:\\x", "a\\b"]
)
@pytest.mark.bad_input("path that is not there")
def test_a_path_that_is_not_there_is_looked_for_nowhere_else(text: str) -> None:
    with pytest.raises(NotFoundError, match="is not there") as caught:
        resolve_base(text)
    assert text in caught.value.message
    with pytest.raises(NotFoundError, match="is not there"):
        resolve_base(Path(text))


@pytest.mark.bad_input("base that is longer than a path may be")
def test_a_text_that_is_no_path_at_all_is_refused() -> None:
    for text in ("x" * 5000, "a\0b"):
        with pytest.raises(NotFoundError) as caught:
            resolve_base(text)
        assert text in caught.value.message or repr(text) in caught.value.message


def other_file(folder: Path) -> Path:
    (folder / "notes.txt").write_text("hello", encoding="utf-8")
    return folder / "notes.txt"


def one_file_of_a_model(folder: Path) -> Path:
    return write_folder(folder, [{"w": f32([1])}]) / "model.safetensors"


def first_of_a_split(folder: Path) -> Path:
    return write_gguf(folder / "model-00001-of-00003.gguf", LLAMA)


def renamed_part_of_a_split(folder: Path) -> Path:
    return write_gguf(folder / "model.gguf", {**LLAMA, "split.count": u32(3)})


def lora_gguf(folder: Path) -> Path:
    return write_gguf(folder / "lora.gguf", {**LLAMA, "general.type": string("adapter")})


def mmproj(folder: Path) -> Path:
    return write_gguf(folder / "mmproj.gguf", {"general.architecture": string("clip")})


def imatrix(folder: Path) -> Path:
    return write_gguf(folder / "x.gguf", {"general.type": string("imatrix")})


def no_architecture(folder: Path) -> Path:
    return write_gguf(folder / "x.gguf", {"general.name": string("x")})


def vocabulary_only(folder: Path) -> Path:
    return write_gguf(folder / "x.gguf", LLAMA, tensors=False)


def gguf_by_name_only(folder: Path) -> Path:
    (folder / "x.gguf").write_bytes(b"<html>Not found</html>")
    return folder / "x.gguf"


@pytest.mark.parametrize(
    ("make", "kind", "named"),
    [
        pytest.param(make, kind, named, id=make.__name__, marks=pytest.mark.bad_input(f"base: {make.__name__}"))
        for make, kind, named in [
            (other_file, BadFileError, "neither a folder nor a GGUF"),
            (one_file_of_a_model, UsageError, "one file of a model"),
            (first_of_a_split, NotSupportedError, "one of 3 parts"),
            (renamed_part_of_a_split, NotSupportedError, "one of 3 parts"),
            (lora_gguf, UsageError, "adapter"),
            (mmproj, NotSupportedError, "clip file"),
            (imatrix, NotSupportedError, "imatrix file"),
            (no_architecture, BadGGUFError, "architecture"),
            (vocabulary_only, BadGGUFError, "no tensors"),
            (gguf_by_name_only, BadGGUFError, "no GGUF"),
        ]
    ],
)
def test_a_file_that_is_no_base_is_refused(tmp_path: Path, make, kind: type[ConchError], named: str) -> None:  # type: ignore[no-untyped-def]
    path = make(tmp_path)
    with pytest.raises(kind, match=named) as caught:
        resolve_base(path)
    assert type(caught.value) is kind
    assert str(path) in caught.value.message


@pytest.mark.bad_input("revision where there is none to choose")
def test_a_revision_of_a_folder_or_two_revisions_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "base", [{"w": f32([1])}])
    with pytest.raises(UsageError, match="no revision v1"):
        resolve_base(folder, revision="v1")
    with pytest.raises(UsageError, match="v1 and v2"):
        resolve_base("hf:org/name@v1", revision="v2")
    with pytest.raises(UsageError, match=r"x\.gguf has no revision v1"):
        resolve_base(write_gguf(tmp_path / "x.gguf", LLAMA), revision="v1")


if os.name == "posix" and os.geteuid() != 0:  # root may read everything

    @pytest.mark.bad_input("no permission to read")
    def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
        path = write_gguf(tmp_path / "x.gguf", LLAMA)
        path.chmod(0)
        with pytest.raises(BadFileError, match=r"x\.gguf"):
            resolve_base(path)
