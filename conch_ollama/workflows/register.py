"""Registers an exported folder with Ollama and says what came of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from conch_ollama.errors import NotFoundError, TemplateMismatchError
from conch_ollama.ollama.register import Registered
from conch_ollama.ollama.register import register as register_with_ollama
from conch_ollama.workflows.events import Events, Silent
from conch_ollama.workflows.folders import open_export_folder


def register(
    folder: str | Path,
    *,
    name: str | None = None,
    host: str | None = None,
    template: str | Path | None = None,
    ask: str | None = "请问你是谁",
    events: Events | None = None,
) -> Registered:
    """Create the model of an exported folder (or of one Modelfile in it) in Ollama, verify it, ask it one question.

    name: another name than the export's. host: the server's URL, by default OLLAMA_HOST or this machine. template: a
    Go TEMPLATE file to use instead of the Modelfile's. ask: None asks nothing.

    Raises TemplateMismatchError where the Modelfile has no TEMPLATE and none is given, OllamaError's kin otherwise.
    Doing it twice changes nothing; a failure leaves a model of that name as it was.
    """
    events = events or Silent()
    exported = open_export_folder(Path(folder))
    modelfile = exported.modelfile
    if template is not None:
        modelfile = replace(modelfile, template=_read(Path(template)))
    if modelfile.template is None:
        raise TemplateMismatchError(
            f"{exported.folder}: the Modelfile has no TEMPLATE, so Ollama would guess how to talk to the model",
            hint="give one with --template FILE; `conch chat` uses the model's own Jinja template and needs none",
        )
    chosen = name or exported.name
    events.step(f"registering {chosen} with Ollama")
    return register_with_ollama(
        modelfile,
        folder=exported.folder,
        name=chosen,
        host=host,
        sha256=exported.sha256,
        quantization=exported.recipe,
        ask=ask,
        progress=lambda done, total: events.progress(done, total, exported.gguf.name),
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as err:
        raise NotFoundError(f"can't read the template {path}: {err.strerror}") from err
