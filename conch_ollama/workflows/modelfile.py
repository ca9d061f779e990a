"""Builds the Modelfiles of an export: which TEMPLATE, which stops, which parameters, and where it all comes from.

Decides; the grammar is `ollama.modelfile`'s, the proof `chat_template`'s. A TEMPLATE is taken only if it renders, byte
for byte, what the model's own Jinja renders; its name decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conch_ollama.chat_template.conversations import PLAIN
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.prove import DATE, best_template
from conch_ollama.chat_template.verdicts import Proof
from conch_ollama.errors import BadTemplateError, NotFoundError
from conch_ollama.exporter.inputs import Inputs
from conch_ollama.exporter.plan import Plan
from conch_ollama.exporter.provenance import Provenance
from conch_ollama.ollama.modelfile import Modelfile, unwritable, write
from conch_ollama.workflows.context import choose_num_ctx
from conch_ollama.workflows.folders import UNCHECKED
from conch_ollama.workflows.machine import this_machine

if TYPE_CHECKING:
    from conch_ollama.workflows.export import ExportOptions

#: generation_config.json -> Modelfile parameter.
SAMPLING = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
}
_ONLY_REGISTER = "`conch register` sends it exactly, `ollama create -f` does not"
UNPROVEN = "no TEMPLATE: none is proven to render what this model was trained on"


@dataclass(frozen=True)
class Modelfiles:
    """File name -> text, one for each GGUF, and how the template was chosen ("curated:FAMILY", "compiled", None)."""

    texts: Mapping[str, str]
    strategy: str | None
    num_ctx: int | None
    report: Mapping[str, Any]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Template:
    text: str | None
    strategy: str | None
    stops: tuple[str, ...]
    report: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)


def build_modelfiles(
    inputs: Inputs, options: ExportOptions, name: str, plan: Plan, provenance: Provenance
) -> Modelfiles:
    """The Modelfile of every planned GGUF: `Modelfile` for the first type, `Modelfile.TYPE` for the others."""
    if not plan.files:
        return Modelfiles({}, None, None, {}, ())
    template = _template(inputs, options, name)
    num_ctx, lowered = _num_ctx(inputs, options, plan, provenance)
    parameters: dict[str, Any] = {**template.parameters, **sampling(inputs.generation)}
    parameters["num_ctx"] = num_ctx
    stops = tuple(dict.fromkeys((*template.stops, *inputs.vocabulary.stop_strings)))
    if stops:
        parameters["stop"] = stops
    texts = {}
    lost: tuple[str, ...] = ()
    for number, file in enumerate(plan.files):
        final = file.path.name.removesuffix(UNCHECKED)
        modelfile = Modelfile(
            from_=f"./{final}",
            template=template.text,
            system=options.system,
            parameters=parameters,
            license=_license(inputs, provenance),
            comments=tuple(_comments(name, file.recipe, template, provenance)),
        )
        lost = tuple(f"{item.instruction}: {item.reason}; {_ONLY_REGISTER}" for item in unwritable(modelfile))
        texts["Modelfile" if number == 0 else f"Modelfile.{file.recipe}"] = write(modelfile)
    warnings = (*template.warnings, *((lowered,) if lowered else ()), *lost)
    return Modelfiles(texts, template.strategy, num_ctx, {**template.report, "stops": list(stops)}, warnings)


def sampling(generation: Mapping[str, Any]) -> dict[str, float | int]:
    """Modelfile parameters from generation_config.json; `do_sample: false` is temperature 0."""
    if generation.get("do_sample") is False:
        return {"temperature": 0.0}
    found = {}
    for key, parameter in SAMPLING.items():
        value = generation.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            found[parameter] = int(value) if parameter == "top_k" else float(value)
    return found


def _template(inputs: Inputs, options: ExportOptions, name: str) -> _Template:
    if options.template is not None:
        return _given(options.template)
    source = inputs.vocabulary.chat_template
    if source is None and inputs.base.ollama is not None and inputs.base.ollama.template:
        warning = f"the GGUF has no chat template: the TEMPLATE of {inputs.base.name} in Ollama is used, not proven"
        return _Template(inputs.base.ollama.template, None, (), {"strategy": "ollama", "proven": False}, (warning,))
    if source is None:
        warning = "the model has no chat template: the Modelfile gets no TEMPLATE (give one with --template FILE)"
        return _Template(None, None, (), {"strategy": None, "proven": False}, (warning,))
    vocabulary = inputs.vocabulary
    try:
        jinja = JinjaTemplate(source, bos_token=vocabulary.bos_text, eos_token=vocabulary.eos_text)
        proof = best_template(
            jinja,
            add_bos=vocabulary.add_bos,
            bos_token=vocabulary.bos_text,
            family=inputs.architecture.name,
            name=name,
        )
    except BadTemplateError as err:
        warning = f"the model's own chat template does not work: {err.message}; the Modelfile gets no TEMPLATE"
        return _Template(None, None, (), {"strategy": None, "proven": False, "error": err.message}, (warning,))
    report = {
        "strategy": proof.strategy,
        "proven": proof.proven,
        "classes": {kind: verdict.verdict for kind, verdict in proof.classes.items()},
        "capabilities": sorted(proof.capabilities),
        "bypassed_by_new_ollama": proof.bypassed,
    }
    if proof.proven:
        return _Template(proof.template, proof.strategy, proof.stops, report, proof.warnings, proof.parameters)
    warning = f"{UNPROVEN}: {_why(proof)} (give one with `conch register … --template FILE`)"
    return _Template(None, None, (), {**report, "reason": _why(proof)}, (warning,))


def _why(proof: Proof) -> str:
    """Why no TEMPLATE is proven, in one line."""
    if proof.reason == DATE:
        return "the model's own template prints today's date, which Ollama's can't"
    if proof.reason:
        return proof.reason
    differing = [kind for kind, verdict in proof.classes.items() if kind in PLAIN and not verdict.holds]
    return f"the nearest differs in {', '.join(differing)}"


def _given(path: Path) -> _Template:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as err:
        raise NotFoundError(f"can't read the template {path}: {err.strerror}") from err
    warning = f"the TEMPLATE of {path} is used as it is: nothing proves that it renders what the model was trained on"
    return _Template(text, None, (), {"strategy": "file", "proven": False}, (warning,))


def _num_ctx(inputs: Inputs, options: ExportOptions, plan: Plan, provenance: Provenance) -> tuple[int, str | None]:
    if options.num_ctx is not None:
        return options.num_ctx, None
    cutoff = provenance.training.get("cutoff_len")
    return choose_num_ctx(
        inputs.weights.config,
        cutoff=int(cutoff) if cutoff else None,
        model_size=min(file.size for file in plan.files),
        memory=this_machine().memory,
    )


def _license(inputs: Inputs, provenance: Provenance) -> tuple[str, ...]:
    if inputs.gguf is None:
        for name in ("LICENSE", "LICENSE.txt", "LICENSE.md"):
            path = inputs.base.path / name
            if path.is_file():
                return (path.read_text(encoding="utf-8", errors="replace"),)
    return (provenance.license,) if provenance.license else ()


def _comments(name: str, recipe: str, template: _Template, provenance: Provenance) -> Sequence[str]:
    base = provenance.base
    origin = base["repo"] or base["name"]
    lines = [
        f"{name} {recipe}, made by conch_ollama {provenance.versions['conch_ollama']}",
        f"base: {origin}" + (f" at {base['revision']}" if base["revision"] else ""),
    ]
    lines += [f"adapter: {a['name']} sha256:{a['sha256']} weight {a['weight']:g}" for a in provenance.adapters]
    if provenance.data_sets:
        lines.append(f"data sets: {', '.join(provenance.data_sets)}")
    if template.text is None:
        lines.append(f"{UNPROVEN}. `conch register` refuses it without --template FILE.")
    elif template.strategy:
        lines.append(f"template: {template.strategy}, renders byte for byte what the model's own chat template renders")
    else:
        lines.append("template: taken as it was, not proven")
    return lines
