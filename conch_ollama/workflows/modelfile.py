"""Builds the Modelfiles of an export: stops, parameters, licence, and where it all comes from.

The grammar is `ollama.modelfile`'s; which TEMPLATE there is has been decided by `template_choice`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from conch_ollama.exporter.inputs import Inputs
from conch_ollama.exporter.plan import Plan
from conch_ollama.exporter.provenance import Provenance
from conch_ollama.ollama.modelfile import Modelfile, unwritable, write
from conch_ollama.workflows.context import choose_num_ctx
from conch_ollama.workflows.machine import this_machine
from conch_ollama.workflows.staged import final_name
from conch_ollama.workflows.template_choice import Choice

if TYPE_CHECKING:
    from conch_ollama.workflows.export_options import ExportOptions

#: generation_config.json -> Modelfile parameter.
SAMPLING = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
}
_ONLY_REGISTER = "`conch register` sends it exactly, `ollama create -f` does not"


@dataclass(frozen=True)
class Modelfiles:
    """File name -> text, one for each GGUF, and how the template was chosen ("curated:FAMILY", "compiled", None)."""

    texts: Mapping[str, str]
    strategy: str | None
    num_ctx: int | None
    report: Mapping[str, Any]
    warnings: tuple[str, ...]


def build_modelfiles(
    inputs: Inputs, options: ExportOptions, name: str, plan: Plan, provenance: Provenance, template: Choice
) -> Modelfiles:
    """The Modelfile of every planned GGUF: `Modelfile` for the first type, `Modelfile.TYPE` for the others."""
    if not plan.files:
        return Modelfiles({}, None, None, {}, ())
    num_ctx, lowered = _num_ctx(inputs, options, plan, provenance)
    parameters: dict[str, Any] = {**template.parameters, **sampling(inputs.generation)}
    parameters["num_ctx"] = num_ctx
    stops = tuple(dict.fromkeys((*template.stops, *inputs.vocabulary.stop_strings)))
    if stops:
        parameters["stop"] = stops
    texts = {}
    lost: tuple[str, ...] = ()
    for number, file in enumerate(plan.files):
        modelfile = Modelfile(
            from_=f"./{final_name(file.path).name}",
            template=template.text,
            system=options.system,
            parameters=parameters,
            license=_license(inputs, provenance),
            comments=tuple(_comments(name, file.recipe, template, provenance)),
        )
        lost = tuple(f"{item.instruction}: {item.reason}; {_ONLY_REGISTER}" for item in unwritable(modelfile))
        texts["Modelfile" if number == 0 else f"Modelfile.{file.recipe}"] = write(modelfile)
    warnings = (*template.warnings, *((lowered,) if lowered else ()), *lost)
    return Modelfiles(texts, template.strategy, num_ctx, {**template.record, "stops": list(stops)}, warnings)


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


def _comments(name: str, recipe: str, template: Choice, provenance: Provenance) -> Sequence[str]:
    base = provenance.base
    origin = base["repo"] or base["name"]
    lines = [
        f"{name} {recipe}, made by conch_ollama {provenance.versions['conch_ollama']}",
        f"base: {origin}" + (f" at {base['revision']}" if base["revision"] else ""),
    ]
    lines += [f"adapter: {a['name']} sha256:{a['sha256']} weight {a['weight']:g}" for a in provenance.adapters]
    if provenance.data_sets:
        lines.append(f"data sets: {', '.join(provenance.data_sets)}")
    lines.append(template.comment)
    return lines
