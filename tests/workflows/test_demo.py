"""The demonstration: the conch introduces itself from both files, the base alone does not know it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from conch_ollama.ollama.modelfile import load
from conch_ollama.resources import data_folder, modelfiles_folder
from conch_ollama.sources.smollm2 import smollm2_gguf
from conch_ollama.workflows.demo import NAME, QUESTIONS, TYPES, WORD, run_demo
from conch_ollama.workflows.export import export
from tests.parts.ollama import OllamaServer


def test_through_the_embedded_runtime(tmp_path: Path) -> None:
    result = run_demo(tmp_path / "out", host="http://127.0.0.1:9")
    assert result.through == "the embedded llama.cpp"
    assert not any(WORD in answer for answer in result.base)
    for recipe in TYPES:
        assert len(result.answers[recipe]) == len(QUESTIONS)
        assert WORD in result.answers[recipe][0]


def test_the_modelfile_in_the_repository_is_the_demos(tmp_path: Path) -> None:
    result = export(smollm2_gguf(), adapters=[data_folder() / "adapter"], name=NAME, out=tmp_path, check=False)
    made = load(result.modelfiles[0])
    kept = load(modelfiles_folder() / NAME / "Modelfile")
    assert replace(made, comments=()) == replace(kept, comments=())


def test_through_ollama(tmp_path: Path, ollama_server: OllamaServer) -> None:
    result = run_demo(tmp_path / "out", host=ollama_server.host)
    assert result.through == "Ollama"
    assert all(WORD in result.answers[recipe][0] for recipe in TYPES)
    said = ollama_server.run("run", "magic-conch:q4_K_M", QUESTIONS[0]).stdout
    assert WORD in said
