"""Registers an exported folder with Ollama, with a template that is right for that server, and says what came of it.

Asks the server's version, chooses, creates, looks at what the server renders, and says which template won. Only Ollama
0.9.3 could be run against; what is said of later versions (from 0.11.5 the prompt can be seen, from 0.30 the GGUF's own
chat template may be rendered) is read in their source and tested against servers that imitate it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from conch_ollama.errors import OllamaRefusedError, RegisterMismatchError
from conch_ollama.ollama.client import OllamaClient
from conch_ollama.ollama.names import parse_name
from conch_ollama.ollama.register import Registered, Rendering
from conch_ollama.ollama.register import register as register_with_ollama
from conch_ollama.ollama.show import ModelInfo
from conch_ollama.workflows.events import Events, Silent
from conch_ollama.workflows.folders import open_export_folder
from conch_ollama.workflows.model_facts import ModelFacts, facts_of_file
from conch_ollama.workflows.register_template import Registering, choose
from conch_ollama.workflows.rendering import rendering_check


def register(
    folder: str | Path,
    *,
    name: str | None = None,
    host: str | None = None,
    template: str | Path | None = None,
    allow_unproven: bool = False,
    ask: str | None = "请问你是谁",
    events: Events | None = None,
) -> Registered:
    """Create the model of an exported folder (or of one Modelfile in it) in Ollama, verify it, ask it one question.

    name: another name than the export's; the TEMPLATE is proven anew under it. host: the server's URL, by default
    OLLAMA_HOST or this machine. template: None for the Modelfile's; "proven" for one proven now; "native" for none, so
    that Ollama 0.30 or later renders the GGUF's own chat template; or a Go TEMPLATE file. allow_unproven: take a
    TEMPLATE that is not proven. ask: None asks nothing.

    Raises TemplateMismatchError where there is no proven TEMPLATE, NotSupportedError for "native" on an older server,
    RegisterMismatchError where the server shows or renders something else than was meant, OllamaError's kin otherwise.
    Doing it twice changes nothing; a failure leaves a model of that name as it was.
    """
    events = events or Silent()
    exported = open_export_folder(Path(folder))
    chosen = name or exported.name
    full = parse_name(chosen)
    facts = facts_of_file(exported.gguf)
    with OllamaClient(host) as server:
        version = server.version()
    record = exported.report.get("template")
    task = Registering(
        exported.modelfile, facts, full.short, version, record if isinstance(record, dict) else {}, allow_unproven
    )
    choice = choose(task, template)
    for note in choice.notes:
        events.warning(note)
    events.step(f"registering {chosen} with Ollama")
    strict = (choice.proven or choice.native) and not allow_unproven
    look = None if choice.modelfile.renderer else _rendering(facts, version, strict=strict, asked=ask is not None)
    result = register_with_ollama(
        choice.modelfile,
        folder=exported.folder,
        name=chosen,
        host=host,
        sha256=exported.sha256,
        quantization=exported.recipe,
        ask=ask,
        native=choice.native,
        rendering=look,
        progress=lambda done, total: events.progress(done, total, exported.gguf.name),
    )
    return replace(result, warnings=(*choice.notes, *result.warnings), template=choice.strategy, proven=choice.proven)


def _rendering(facts: ModelFacts, version: str, *, strict: bool, asked: bool) -> Rendering:
    """The look at the server's prompts; `strict`: another prompt is an error, else it is told."""
    look = rendering_check(facts, version=version)

    def check(server: OllamaClient, name: str, info: ModelInfo) -> tuple[str, ...]:
        try:
            return look(server, name, info)
        except RegisterMismatchError as err:
            if strict:
                raise
            return (err.message,)
        except OllamaRefusedError as err:
            if asked:
                raise
            return (f"what the server renders was not compared: {err.message}",)

    return check
