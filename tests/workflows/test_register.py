"""An exported folder in the real Ollama: register, chat, up; twice changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from conch_ollama.errors import ConchError
from conch_ollama.ollama.modelfile import load, save
from conch_ollama.workflows.chat import open_chat
from conch_ollama.workflows.export import export
from conch_ollama.workflows.register import register
from conch_ollama.workflows.up import up
from tests.parts.ollama import OllamaServer
from tests.parts.tiny import write_model


@pytest.fixture(scope="module")
def smollm2_export(tmp_path_factory: pytest.TempPathFactory, smollm2_gguf: Path) -> Path:
    """SmolLM2 at q4_0, by conch; on one thread, for on a shared machine all cores are ten times slower."""
    out = tmp_path_factory.mktemp("register") / "海螺 out"
    export(smollm2_gguf, types=["q4_0"], name="small", out=out, num_ctx=1024, check=False)
    modelfile = load(out / "Modelfile")
    save(replace(modelfile, parameters={**modelfile.parameters, "num_thread": 1}), out / "Modelfile")
    return out


@pytest.mark.long
def test_register_and_ask_and_again(smollm2_export: Path, ollama_server: OllamaServer) -> None:
    first = register(smollm2_export, host=ollama_server.host, ask="What is the capital of France?")
    assert first.changed and first.answer  # sampled, so any text
    second = register(smollm2_export, host=ollama_server.host, ask=None)
    assert not second.changed
    with open_chat("small", host=ollama_server.host, temperature=0) as chat:
        assert "Paris" in chat.ask("What is the capital of France?")
    shown = ollama_server.run("show", "small", "--modelfile").stdout
    assert load(smollm2_export / "Modelfile").template in shown


def test_up_uses_what_is_there(smollm2_export: Path, smollm2_gguf: Path, ollama_server: OllamaServer) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in smollm2_export.iterdir()}
    options = {"types": ["q4_0"], "name": "small", "out": smollm2_export, "num_ctx": 1024, "check": False}
    with up(smollm2_gguf, host=ollama_server.host, **options) as chat:
        assert "Ollama" in chat.description
    assert {path.name: path.stat().st_mtime_ns for path in smollm2_export.iterdir()} == before


@pytest.mark.long
def test_up_without_ollama_chats_all_the_same(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    with up(base, host="http://127.0.0.1:9", types=["q8_0"], name="m", out=tmp_path / "out", check=False) as chat:
        assert "embedded" in chat.description


@pytest.mark.bad_input("a name that Ollama does not take")
def test_a_chinese_name(smollm2_export: Path, ollama_server: OllamaServer) -> None:
    with pytest.raises(ConchError) as caught:
        register(smollm2_export, name="神奇海螺", host=ollama_server.host, ask=None)
    assert caught.value.code == "model-name"
    assert "神奇海螺" in caught.value.message


@pytest.mark.bad_input("no Ollama answers")
def test_no_ollama(smollm2_export: Path) -> None:
    with pytest.raises(ConchError) as caught:
        register(smollm2_export, host="http://127.0.0.1:9", ask=None)
    assert caught.value.code == "ollama-unreachable"
    assert "127.0.0.1:9" in caught.value.message
