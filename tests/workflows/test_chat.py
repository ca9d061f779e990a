"""Chat with the embedded llama.cpp: an exported folder, a bare GGUF; and what is neither."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conch_ollama.errors import ConchError
from conch_ollama.workflows.chat import Chat, Message, open_chat
from conch_ollama.workflows.results import ExportResult


def test_smollm2_answers(smollm2_gguf: Path) -> None:
    with open_chat(smollm2_gguf, temperature=0, num_ctx=512) as chat:
        assert "Paris" in chat.ask("What is the capital of France? Answer in one short sentence.")


def test_a_conversation_is_remembered_and_cleared() -> None:
    heard: list[list[str]] = []

    def answer(messages: list[Message]) -> Iterator[str]:
        heard.append([message["content"] for message in messages])
        yield from ("a", "b")
        if messages[-1]["content"] == "stop here":
            raise ConnectionError

    with Chat("test", answer, lambda: None, system="be brief") as chat:
        assert chat.ask("one") == "ab"
        with pytest.raises(ConnectionError):
            chat.ask("stop here")
        chat.ask("two")
        chat.clear()
        chat.ask("three")
    assert heard[0] == ["be brief", "one"]
    assert heard[2] == ["be brief", "one", "ab", "two"]  # the broken-off turn is forgotten
    assert heard[3] == ["be brief", "three"]


def test_an_exported_folder_and_a_modelfile_in_it(exported: ExportResult) -> None:
    for model in (exported.folder, exported.modelfiles[1], exported.gguf):
        with open_chat(model, temperature=0) as chat:
            pieces = [piece for piece, _ in zip(chat.say("hi"), range(4), strict=False)]
            assert pieces
            assert exported.name in chat.description


@pytest.mark.bad_input("a model that is no file, with no Ollama to ask")
def test_neither_file_nor_ollama(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    with pytest.raises(ConchError) as caught:
        open_chat("no-such-model")
    assert caught.value.code == "not-found"
    assert "no-such-model" in caught.value.message and "127.0.0.1:9" in caught.value.message


@pytest.mark.bad_input("a GGUF that is not there")
def test_a_missing_gguf() -> None:
    with pytest.raises(ConchError) as caught:
        open_chat("nowhere/model.gguf")
    assert caught.value.code == "not-found"
    assert "model.gguf" in caught.value.message
