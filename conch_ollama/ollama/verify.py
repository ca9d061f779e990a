"""Compares what a model was meant to be with what Ollama shows. Asks nothing of the server.

Ollama adds what nobody asked for: from the GGUF's chat template it detects a TEMPLATE and parameters of its own, and
newer versions pass over a TEMPLATE in favour of that chat template.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from conch_ollama.errors import RegisterMismatchError
from conch_ollama.ollama.modelfile import ModelMessage
from conch_ollama.ollama.parameters import ParameterValue, differing_parameters
from conch_ollama.ollama.show import ModelInfo


@dataclass(frozen=True)
class Meant:
    """What `show` has to show. `capabilities` must be there, others may; None for what is not to be compared.

    `jinja` is the GGUF's own chat template: where Ollama shows that instead of `template`, it renders it itself; with
    `template` None it has to.
    """

    digest: str
    template: str | None
    system: str = ""
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    messages: tuple[ModelMessage, ...] = ()
    license: str = ""
    adapter_digest: str | None = None
    capabilities: Collection[str] = ("completion",)
    quantization: str | None = None
    jinja: str | None = None


@dataclass(frozen=True)
class Difference:
    """`key` is the instruction, or `PARAMETER name`."""

    key: str
    meant: object
    shown: object

    @property
    def is_added(self) -> bool:
        """A parameter that nobody set: Ollama's detection did."""
        return self.key.startswith("PARAMETER ") and self.meant is None


def differences(meant: Meant, shown: ModelInfo) -> list[Difference]:
    """Every key in which the shown model is not the meant one."""
    found = [
        Difference(key, want, have)
        for key, want, have in (
            ("FROM", meant.digest, shown.digest),
            ("ADAPTER", meant.adapter_digest, shown.adapter_digest),
            ("TEMPLATE", meant.template, shown.template),
            ("SYSTEM", meant.system, shown.system),
            ("MESSAGE", meant.messages, shown.messages),
            ("LICENSE", meant.license, shown.license),
        )
        if want != have and not (key == "TEMPLATE" and renders_jinja(meant, shown))
    ]
    parameters = differing_parameters(meant.parameters, shown.parameters)
    found += [Difference(f"PARAMETER {name}", meant.parameters.get(name), have) for name, _, have in parameters]
    if shown.capabilities is not None:
        missing = sorted(set(meant.capabilities) - set(shown.capabilities))
        found += [Difference("capabilities", capability, shown.capabilities) for capability in missing]
    quantization = shown.quantization.lower()
    if meant.quantization and quantization not in {"", "unknown", meant.quantization.lower()}:
        found.append(Difference("quantisation", meant.quantization, shown.quantization))
    return found


def renders_jinja(meant: Meant, shown: ModelInfo) -> bool:
    """Whether the server passes over TEMPLATE and renders the GGUF's own chat template (Ollama 0.30 and later)."""
    return bool(meant.jinja) and shown.template == meant.jinja != meant.template


def mismatch(name: str, host: str, found: list[Difference]) -> RegisterMismatchError:
    """The error that names the first difference, what was meant and what is shown."""
    first = found[0]
    if first.key == "TEMPLATE" and first.meant is None:
        return RegisterMismatchError(
            f"{name} in Ollama at {host}: without a TEMPLATE Ollama took one that it guessed, {_short(first.shown)}, "
            "instead of the chat template in the GGUF",
            hint="OLLAMA_GO_TEMPLATE=0 in the server's environment makes it render that; or say --template proven",
        )
    more = f" (and {', '.join(difference.key for difference in found[1:])})" if len(found) > 1 else ""
    hint = "the model was not registered; Ollama's version may be the cause: `conch doctor` shows it"
    if first.meant is None:
        hint = (
            f"Ollama detected it from the chat template in the GGUF; write {first.key} into the Modelfile to decide it"
        )
    return RegisterMismatchError(
        f"{name} in Ollama at {host}: {first.key} was meant to be {_short(first.meant)}, and it is "
        f"{_short(first.shown)}{more}",
        hint=hint,
    )


def _short(value: object) -> str:
    if value in (None, "", ()):
        return "absent"
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:110]} … {text[-40:]} ({len(text)} characters)"
