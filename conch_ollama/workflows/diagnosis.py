"""What is wrong with a model that Ollama has: looks it up, reads its GGUF where that can be read, names the faults.

Changes nothing; `mending.py` does. A TEMPLATE is proven under the model's own name and family, since both decide what
Ollama strips from a conversation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from conch_ollama.addresses import is_loopback
from conch_ollama.chat_template.turns import turns_of
from conch_ollama.errors import BadFileError, NotFoundError, OllamaRefusedError, RegisterMismatchError
from conch_ollama.ollama.client import OllamaClient
from conch_ollama.ollama.names import parse_name
from conch_ollama.ollama.show import ModelInfo
from conch_ollama.ollama.versions import is_native
from conch_ollama.sources.ollama_store import store_folders
from conch_ollama.workflows.faults_of_context import context_faults
from conch_ollama.workflows.faults_of_stops import detected_faults, stop_faults
from conch_ollama.workflows.faults_of_template import parse_template, template_faults
from conch_ollama.workflows.machine import this_machine
from conch_ollama.workflows.model_facts import ModelFacts, facts_of_file, facts_of_server
from conch_ollama.workflows.patient import BYPASSED, WRONG_PROMPT, Finding, Notes, Patient
from conch_ollama.workflows.rendering import rendering_check


@dataclass(frozen=True)
class Diagnosis:
    """`findings`: the faults that are left. `notes`: what can't be judged from here. `changes`: what was mended, and
    `mended` the faults that went by it."""

    name: str
    host: str
    version: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    mended: tuple[Finding, ...] = ()
    changes: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether nothing is left."""
        return not self.findings

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "name": self.name,
            "host": self.host,
            "version": self.version,
            "healthy": self.healthy,
            "findings": [finding.as_dict() for finding in self.findings],
            "mended": [finding.as_dict() for finding in self.mended],
            "changes": list(self.changes),
            "notes": list(self.notes),
        }


def diagnose(patient: Patient) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """(faults, what can't be judged here)."""
    notes = Notes()
    parsed = parse_template(patient, notes)
    turns = turns_of(patient.facts.jinja, parsed)
    found = [
        *template_faults(patient, parsed, notes),
        *stop_faults(patient, turns, notes),
        *detected_faults(patient, turns),
        *context_faults(patient, notes),
    ]
    return tuple(found), tuple(notes.lines)


def open_patient(server: OllamaClient, name: str) -> Patient:
    """A model as the server shows it, with what its GGUF says. Raises NotFoundError, ModelNameError, OllamaError."""
    full = parse_name(name)
    version = server.version()
    info = server.show(str(full))
    local = is_loopback(server.host)
    memory = this_machine().memory if local else None
    return Patient(full.short, info, _facts(server, str(full), info, version, local=local), version, memory)


def _facts(server: OllamaClient, name: str, info: ModelInfo, version: str, *, local: bool) -> ModelFacts:
    path = blob_path(info, local=local)
    if path is not None:
        try:
            return facts_of_file(path)
        except (NotFoundError, PermissionError):
            pass  # a store of another user's: the server may still show it
        except BadFileError as err:
            raise BadFileError(f"the GGUF of {name} is damaged: {err.message}", hint=err.hint) from err
    size = next((one.size for one in server.list_models() if parse_name(one.name).same(parse_name(name))), 0)
    # A server that renders the GGUF's own chat template shows that as the template.
    jinja = info.template if is_native(version) and "{%" in info.template else None
    return facts_of_server(server.metadata(name), size=size, jinja=jinja)


def blob_path(info: ModelInfo, *, local: bool) -> Path | None:
    """The model's GGUF in a store on this machine; blobs are named by their content, so any store's will do."""
    if info.digest is None:
        return None
    name = f"sha256-{info.digest}"
    shown = [Path(info.blob)] if local and info.blob and PureWindowsPath(info.blob).name == name else []
    for path in (*shown, *(folder / "blobs" / name for folder in store_folders())):
        try:
            if path.is_file():
                with path.open("rb"):
                    return path
        except OSError:
            continue
    return None


def examine_model(name: str, *, host: str | None = None) -> Diagnosis:
    """Look a model over. Nothing is changed; a server from 0.30 on may load it to tell its prompts.

    Raises NotFoundError, ModelNameError, OllamaUnreachableError, BadFileError for a damaged GGUF.
    """
    with OllamaClient(host) as server:
        patient = open_patient(server, name)
        findings, notes = look_over(server, patient)
        return Diagnosis(patient.name, server.host, patient.version, findings, notes)


def look_over(server: OllamaClient, patient: Patient) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """`diagnose`, and where the server renders the GGUF's own chat template, what its engine makes of that."""
    findings, notes = diagnose(patient)
    if not patient.renders_jinja or any(finding.code == BYPASSED for finding in findings):
        return findings, notes
    try:
        said = rendering_check(patient.facts, version=patient.version)(server, patient.name, patient.info)
    except RegisterMismatchError as err:
        message, _, lines = err.message.partition("\n")
        advice = "OLLAMA_GO_TEMPLATE=1 in the server's environment makes it obey a TEMPLATE"
        return (Finding(WRONG_PROMPT, message, advice, diff=lines), *findings), notes
    except OllamaRefusedError as err:
        return findings, (*notes, f"what the server renders was not compared: {err.message}")
    return findings, (*notes, *said)
