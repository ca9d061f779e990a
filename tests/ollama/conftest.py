"""Shared by the tests of this room: a Modelfile of SmolLM2, which answers, and one of 2 kB, which is only shown."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from conch_ollama.ollama.modelfile import Modelfile

CHATML = "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
# ChatML as many models have it: Ollama knows it, and detects a TEMPLATE and two stops from it.
JINJA = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
    "'<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@pytest.fixture
def quick(smollm2_gguf: Path) -> Modelfile:
    """SmolLM2 with answers of four tokens, on one thread (see OllamaServer)."""
    return Modelfile(
        str(smollm2_gguf),
        template=CHATML,
        parameters={"num_predict": 4, "num_thread": 1, "num_ctx": 512, "seed": 1, "stop": ("<|im_end|>",)},
    )


@pytest.fixture(scope="session")
def small_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole GGUF of 2 kB that Ollama creates a model from; it lacks what is needed to load it."""
    path = tmp_path_factory.mktemp("small") / "small.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(8192)
    writer.add_block_count(1)
    writer.add_file_type(3)
    writer.add_chat_template(JINJA)
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def small(small_gguf: Path) -> Modelfile:
    return Modelfile(str(small_gguf), template=CHATML, parameters={"num_ctx": 512, "seed": 1, "stop": ("<|im_end|>",)})
