"""GGUFs of some hundred kilobytes that a real Ollama runs, and models of them that are broken on purpose."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conch_ollama.formats.gguf_reader import GGUFFile
from conch_ollama.formats.gguf_writer import GGUFTensorSpec, GGUFWriter
from conch_ollama.formats.metadata import Value, string
from conch_ollama.ollama.modelfile import Modelfile
from conch_ollama.ollama.register import register
from tests.chat_template.references import index, source
from tests.parts.ollama import OllamaServer
from tests.parts.scripted_gguf import scripted_gguf

#: On a shared machine Ollama's default of all cores is ten times slower.
QUICK: Mapping[str, Any] = {"num_thread": 1, "num_predict": 4, "seed": 1}


def own_gguf(path: Path, reference: str, **options: Any) -> Path:
    """A GGUF with the chat template, BOS and tokens of tests/chat_template/templates/REFERENCE.jinja."""
    one = index()[reference]
    extra = [token for token in (one.eos_token, *one.special_tokens.values()) if token and token != one.bos_token]
    settings = {"bos_token": one.bos_token or "<s>", "add_bos": one.add_bos, "extra_tokens": extra, **options}
    return scripted_gguf(path, "Hello there, friend.", chat_template=source(reference), **settings)


def rewritten(path: Path, source_path: Path, changes: Mapping[str, Value | None]) -> Path:
    """The same GGUF with other metadata; None takes a key out."""
    with GGUFFile(source_path) as file:
        metadata = {key: value for key, value in file.metadata.items() if changes.get(key, value) is not None}
        metadata |= {key: value for key, value in changes.items() if value is not None}
        tensors = list(file.tensors.values())
        specs = [GGUFTensorSpec(one.name, one.type, one.shape) for one in tensors]
        with GGUFWriter(path, metadata, specs) as writer:
            for one in tensors:
                writer.write(file.read_raw(one.name))
            writer.finish()
    return path


def trained_up_to(tokens: int) -> dict[str, Value]:
    """What conch writes of a training with that cut-off."""
    return {"conch.adapter.0.training": string(json.dumps({"cutoff_len": tokens}))}


def put(
    server: OllamaServer, name: str, gguf: Path, template: str, *, stop: Sequence[str] = (), num_ctx: int = 4096
) -> None:
    """Registers a model as it is told, whatever that is; SYSTEM, MESSAGE and LICENSE stand for what must stay."""
    modelfile = Modelfile(
        str(gguf),
        template=template,
        system="You are the conch.",
        license=("MIT",),
        parameters={**QUICK, "num_ctx": num_ctx, "stop": tuple(stop)},
    )
    register(modelfile, Path(), name, host=server.host, ask=None)
