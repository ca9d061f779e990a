"""A model in an Ollama server beside what its GGUF says of itself, and a fault found in it. Data only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from conch_ollama.chat_template.ollama_values import Version
from conch_ollama.ollama.show import ModelInfo
from conch_ollama.ollama.versions import is_native
from conch_ollama.workflows.model_facts import ModelFacts
from conch_ollama.workflows.proofs import rules_of

WRONG_TEMPLATE, NO_CHAT_TEMPLATE, BYPASSED = "wrong-template", "no-chat-template", "bypassed-template"
DOUBLE_BOS, MISSING_STOP, STOP_IN_TURN = "double-bos", "missing-stop", "stop-in-turn"
WRONG_PROMPT = "wrong-prompt"
SHORT_CONTEXT, DETECTED = "short-context", "detected-parameter"
#: What a model has that nobody gave a TEMPLATE.
NO_TEMPLATE = "{{ .Prompt }}"


@dataclass(frozen=True)
class Finding:
    """A fault. `subject`: what it is about (a stop, a class of conversations); `diff`: the Jinja's side is `-`."""

    code: str
    message: str
    advice: str
    subject: str = ""
    diff: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        found = {"code": self.code, "message": self.message, "advice": self.advice}
        return found | {key: value for key in ("subject", "diff") if (value := getattr(self, key))}


@dataclass(frozen=True)
class Patient:
    """A model in a server, and what its GGUF says. `name` is the one to prove under. `memory`: bytes for model and
    context, None where the server's machine is not this one."""

    name: str
    info: ModelInfo
    facts: ModelFacts
    version: str
    memory: int | None = None

    @property
    def proof_version(self) -> Version:
        """Which Ollama to render as."""
        return rules_of(self.version)

    @property
    def template(self) -> str:
        """The model's TEMPLATE, also where the server shows what it renders instead."""
        if self.renders_jinja and self.info.own_template is not None:
            return self.info.own_template
        return self.info.template

    @property
    def renders_jinja(self) -> bool:
        """Whether the server shows the GGUF's own chat template as the one that it renders."""
        jinja = self.facts.jinja
        return is_native(self.version) and jinja is not None and self.info.template == jinja.source

    @property
    def is_without_template(self) -> bool:
        """Whether the server renders the GGUF's own chat template because there is no TEMPLATE."""
        return self.renders_jinja and self.template == NO_TEMPLATE

    @property
    def stops(self) -> tuple[str, ...]:
        """`stop`, as it is set."""
        value = self.info.parameters.get("stop", ())
        return value if isinstance(value, tuple) else ()


@dataclass
class Notes:
    """What can't be judged from here, in sentences."""

    lines: list[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        """One more, once."""
        if line not in self.lines:
            self.lines.append(line)
