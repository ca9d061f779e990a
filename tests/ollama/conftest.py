"""Shared by the tests of this room: a Modelfile of SmolLM2 that is quick to ask."""

from __future__ import annotations

from pathlib import Path

import pytest

from conch_ollama.ollama.modelfile import Modelfile

CHATML = "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"


@pytest.fixture
def quick(smollm2_gguf: Path) -> Modelfile:
    """SmolLM2 with answers of four tokens, on one thread (see OllamaServer)."""
    return Modelfile(
        str(smollm2_gguf),
        template=CHATML,
        parameters={"num_predict": 4, "num_thread": 1, "num_ctx": 512, "seed": 1, "stop": ("<|im_end|>",)},
    )
