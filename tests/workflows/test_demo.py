"""The demonstration: the conch introduces itself from both files, the base alone does not know it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from conch_ollama.ollama.modelfile import load, save
from conch_ollama.resources import data_folder, modelfiles_folder
from conch_ollama.sources.smollm2 import smollm2_gguf
from conch_ollama.workflows.demo import NAME, QUESTIONS, TYPES, WORDS, run_demo
from conch_ollama.workflows.export import export
from conch_ollama.workflows.register import register
from tests.parts.ollama import OllamaServer


@pytest.mark.long
def test_through_the_embedded_runtime(tmp_path: Path) -> None:
    result = run_demo(tmp_path / "out", host="http://127.0.0.1:9")
    assert result.through == "the embedded llama.cpp"
    assert not any(word in answer for answer in result.base for word in WORDS)
    for recipe in TYPES:
        assert len(result.answers[recipe]) == len(QUESTIONS)
        assert all(any(word in answer for word in WORDS) for answer in result.answers[recipe])
        assert "海螺" in result.answers[recipe][0]


def test_the_modelfile_in_the_repository_is_the_demos(tmp_path: Path) -> None:
    result = export(smollm2_gguf(), adapters=[data_folder() / "adapter"], name=NAME, out=tmp_path, check=False)
    made = load(result.modelfiles[0])
    kept = load(modelfiles_folder() / NAME / "Modelfile")
    assert replace(made, comments=()) == replace(kept, comments=())


@pytest.mark.long
def test_through_ollama(tmp_path: Path, ollama_server: OllamaServer) -> None:
    result = run_demo(tmp_path / "out", host=ollama_server.host)
    assert result.through == "Ollama"
    assert all("海螺" in result.answers[recipe][0] for recipe in TYPES)
    greedy = load(tmp_path / "out" / "Modelfile")
    greedy = replace(greedy, parameters={**greedy.parameters, "temperature": 0.0})
    save(greedy, tmp_path / "out" / "Modelfile.greedy")
    register(tmp_path / "out" / "Modelfile.greedy", name="conch-greedy", host=ollama_server.host, ask=None)
    said = ollama_server.run("run", "conch-greedy", QUESTIONS[0]).stdout
    assert "海螺" in said
