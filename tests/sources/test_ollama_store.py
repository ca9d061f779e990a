"""The local Ollama's store: one written by a real Ollama, and ones that are damaged or hold more than a GGUF."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from conch_ollama.errors import BadFileError, ConchError, ModelNameError, NotFoundError, NotSupportedError
from conch_ollama.sources.ollama_store import find_model, parse_name, store_folders
from conch_ollama.sources.resolve import resolve_base
from tests.parts.ollama import OllamaServer
from tests.sources.ollama_models import MEDIA, write_model

PLACE = "registry.ollama.ai/library/conch/latest"
MODEL = ("model", b"GGUF...")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "模型 models"
    monkeypatch.setenv("OLLAMA_MODELS", str(folder))
    return folder


@pytest.mark.parametrize(
    ("text", "complete", "short"),
    [
        ("llama3.2", "registry.ollama.ai/library/llama3.2:latest", "llama3.2"),
        ("qwen2.5:0.5b", "registry.ollama.ai/library/qwen2.5:0.5b", "qwen2.5:0.5b"),
        ("me/conch", "registry.ollama.ai/me/conch:latest", "me/conch"),
        ("hf.co/Qwen/Qwen2.5-GGUF:Q4_K_M", "hf.co/Qwen/Qwen2.5-GGUF:Q4_K_M", "hf.co/Qwen/Qwen2.5-GGUF:Q4_K_M"),
        ("localhost:5000/me/conch", "localhost:5000/me/conch:latest", "localhost:5000/me/conch"),
        ("https://ollama.local/me/conch:v1", "ollama.local/me/conch:v1", "ollama.local/me/conch:v1"),
    ],
)
def test_names_are_taken_apart_as_ollama_does(text: str, complete: str, short: str) -> None:
    assert (parse_name(text).complete, parse_name(text).short) == (complete, short)


@pytest.mark.parametrize("text", ["", "a b", "a/b/c/d", ":tag", "model:", "../x", "me/../x", "a//b", "海螺", "a:b:c"])
@pytest.mark.bad_input("text that is no name of an Ollama model")
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ModelNameError) as caught:
        parse_name(text)
    assert repr(text) in caught.value.message


def test_a_model_with_all_its_layers(store: Path) -> None:
    blobs = write_model(
        store,
        PLACE,
        [
            MODEL,
            ("template", "{{ .Prompt }}贝".encode()),
            ("system", b"You are a shell."),
            ("params", b'{"stop": ["<|im_end|>"], "num_ctx": 8192}'),
            ("license", b"MIT"),
            ("license", b"Apache"),
        ],
    )
    found = find_model("conch")
    assert found.path == blobs[0]
    assert (found.name, found.short) == ("registry.ollama.ai/library/conch:latest", "conch")
    assert (found.template, found.system) == ("{{ .Prompt }}贝", "You are a shell.")
    assert found.parameters == {"stop": ["<|im_end|>"], "num_ctx": 8192}
    assert found.licenses == ("MIT", "Apache")


def test_a_model_with_nothing_but_weights(store: Path) -> None:
    write_model(store, "hf.co/Org/Repo/Q8_0", [MODEL])
    found = find_model("hf.co/Org/Repo:Q8_0")
    assert (found.template, found.system, dict(found.parameters), found.licenses) == (None, None, {}, ())


def test_where_ollama_keeps_its_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", f'"{tmp_path}"')
    assert store_folders() == [tmp_path]
    monkeypatch.delenv("OLLAMA_MODELS")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert store_folders()[0] == tmp_path / ".ollama" / "models"
    assert Path("/usr/share/ollama/.ollama/models") in store_folders()
    write_model(store_folders()[0], PLACE, [MODEL])
    assert find_model("conch").path.parent == tmp_path / ".ollama" / "models" / "blobs"


@pytest.mark.bad_input("no such model in the local Ollama")
def test_a_model_that_is_not_there_says_where_was_looked(store: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        find_model("qwen2.5:0.5b")
    assert caught.value.code == "not-found"
    assert "qwen2.5:0.5b" in caught.value.message
    assert str(store) in caught.value.message
    assert "ollama pull qwen2.5:0.5b" in (caught.value.hint or "")
    assert not store.exists()


def manifest(store: Path) -> Path:
    return store / "manifests" / PLACE


def no_json(store: Path) -> None:
    write_model(store, PLACE, [MODEL])
    manifest(store).write_text("{", encoding="utf-8")


def no_layers(store: Path) -> None:
    write_model(store, PLACE, [MODEL])
    manifest(store).write_text('{"layers": 3}', encoding="utf-8")


def no_digest(store: Path) -> None:
    write_model(store, PLACE, [MODEL])
    text = f'{{"layers": [{{"mediaType": "{MEDIA}model", "digest": "sha256:../../x"}}]}}'
    manifest(store).write_text(text, encoding="utf-8")


def no_blob(store: Path) -> None:
    write_model(store, PLACE, [MODEL])[0].unlink()


def no_parameters(store: Path) -> None:
    write_model(store, PLACE, [MODEL, ("params", b"3")])


def with_adapter(store: Path) -> None:
    write_model(store, PLACE, [MODEL, ("adapter", b"GGUF lora")])


def with_projector(store: Path) -> None:
    write_model(store, PLACE, [MODEL, ("projector", b"GGUF clip")])


def no_gguf(store: Path) -> None:
    write_model(store, PLACE, [("tensor", b"x"), ("json", b"{}")])


def two_files(store: Path) -> None:
    write_model(store, PLACE, [MODEL, ("model", b"GGUF 2")])


@pytest.mark.parametrize(
    ("damage", "kind", "named"),
    [
        pytest.param(damage, kind, named, id=damage.__name__, marks=pytest.mark.bad_input(f"Ollama store: {why}"))
        for damage, kind, named, why in [
            (no_json, BadFileError, "no JSON", "broken manifest"),
            (no_layers, BadFileError, "no layers", "manifest without layers"),
            (no_digest, BadFileError, "names no blob", "manifest with a path for a digest"),
            (no_blob, BadFileError, "lacks its blob", "blob that is not there"),
            (no_parameters, BadFileError, "parameters", "parameters that are no object"),
            (with_adapter, NotSupportedError, "adapter", "model with an adapter layer"),
            (with_projector, NotSupportedError, "images", "model with a projector"),
            (no_gguf, NotSupportedError, "not stored as a GGUF", "model stored as safetensors"),
            (two_files, NotSupportedError, "2 files", "model in several GGUFs"),
        ]
    ],
)
def test_a_store_that_cannot_serve_is_refused(
    store: Path, damage: Callable[[Path], None], kind: type[ConchError], named: str
) -> None:
    damage(store)
    before = sorted(store.rglob("*"))
    with pytest.raises(kind, match=named) as caught:
        find_model("conch")
    assert "conch" in caught.value.message
    assert sorted(store.rglob("*")) == before


def test_the_digest_of_a_blob_is_that_of_its_bytes(store: Path) -> None:
    write_model(store, PLACE, [MODEL])
    assert find_model("conch").path.name == "sha256-" + hashlib.sha256(MODEL[1]).hexdigest()


def test_a_model_that_a_real_ollama_created(
    ollama_server: OllamaServer, smollm2_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Modelfile").write_text(
        f'FROM {smollm2_gguf}\nTEMPLATE """{{{{ .Prompt }}}}贝"""\nSYSTEM Be a shell.\n'
        "PARAMETER num_ctx 2048\nPARAMETER stop <|im_end|>\nLICENSE Apache-2.0\n",
        encoding="utf-8",
    )
    ollama_server.run("create", "store-test:v1", "-f", tmp_path / "Modelfile")
    monkeypatch.setenv("OLLAMA_MODELS", ollama_server.environment["OLLAMA_MODELS"])
    found = find_model("store-test:v1")
    assert found.path.read_bytes() == smollm2_gguf.read_bytes()
    assert (found.template, found.system) == ("{{ .Prompt }}贝", "Be a shell.")
    assert found.parameters == {"num_ctx": 2048, "stop": ["<|im_end|>"]}
    assert found.licenses == ("Apache-2.0",)
    base = resolve_base("store-test:v1")
    assert (base.kind, base.path, base.license, base.ollama) == ("gguf", found.path, "apache-2.0", found)
