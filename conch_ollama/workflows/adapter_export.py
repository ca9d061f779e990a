"""`conch export --adapter-only`: an adapter as a GGUF of its own, for llama.cpp and Ollama to put over its base.

Merges nothing and quantises nothing; what can't be said by A and B alone is refused. The file is compared with the
merge before it gets its name.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from conch_ollama.errors import CheckError, RuntimeFailedError, UsageError
from conch_ollama.exporter.adapter_check import check_against_merge
from conch_ollama.exporter.adapter_gguf import AdapterPlan, plan_adapter, plan_adapter_file, write_adapter
from conch_ollama.exporter.general import adapter_metadata
from conch_ollama.exporter.inputs import Inputs
from conch_ollama.exporter.plan import GGUFPlan, Plan
from conch_ollama.exporter.preflight import preflight
from conch_ollama.exporter.provenance import Provenance, provenance_of
from conch_ollama.runtimes.llama_cpp import LlamaCppWorker
from conch_ollama.sources.merge import MergedSource
from conch_ollama.workflows.adapter_modelfile import AdapterModelfile, adapter_modelfile, another_tokenizer
from conch_ollama.workflows.events import Events, Silent
from conch_ollama.workflows.export_options import AdapterSource, ExportOptions, file_stem, note_kept, opened
from conch_ollama.workflows.folders import REPORT, UNCHECKED, make_folder, write_text
from conch_ollama.workflows.results import CheckResult, ExportedFile, ExportResult
from conch_ollama.workflows.template_choice import Choice, choose_template

_TYPES = {"f16", "f32"}
_PROMPT = "1, 2, 3,"
_NUM_CTX = 512


@dataclass(frozen=True)
class _Work:
    """One export under way. `template` and `modelfile` are None over a base that is no GGUF."""

    inputs: Inputs
    merged: MergedSource
    options: ExportOptions
    name: str
    folder: Path
    provenance: Provenance
    plan: AdapterPlan
    file: GGUFPlan
    template: Choice | None
    modelfile: AdapterModelfile | None
    doubts: tuple[str, ...]


def export_adapter(
    base: str | Path,
    adapter: AdapterSource,
    *,
    type: str | None = None,
    name: str | None = None,
    out: str | Path | None = None,
    template: str | Path | None = None,
    allow_unproven: bool = False,
    train_template: str | None = None,
    system: str | None = None,
    num_ctx: int | None = None,
    pre: str | None = None,
    tokenizer: str | Path | None = None,
    hub: Literal["huggingface", "modelscope"] = "huggingface",
    revision: str | None = None,
    threads: int = 0,
    check: bool = True,
    force: bool = False,
    dry_run: bool = False,
    events: Events | None = None,
) -> ExportResult:
    """Write a LoRA adapter as a GGUF of its own, export.json, and over a GGUF base a Modelfile with ADAPTER.

    adapter: a PEFT folder or a LLaMA-Factory run, alone or with a weight, which goes into the file's alpha. type: "f16"
    or "f32"; None is f16, and f32 for tensors that half precision would spoil. check: compare the file with the merge,
    and run it over a GGUF base, on `threads`. All else as in `export`.

    Raises AdapterKindError, which names the tensor, for what must be merged: DoRA, modules_to_save, biases, token rows,
    an embedding that is the output too. Otherwise ConchError's kin; a file that failed the check stays as *.unchecked.
    """
    events = events or Silent()
    options = ExportOptions.of(
        types=[type] if type is not None else (),
        name=name,
        out=out,
        template=template,
        allow_unproven=allow_unproven,
        train_template=train_template,
        system=system,
        num_ctx=num_ctx,
        pre=pre,
        tokenizer=tokenizer,
        hub=hub,
        revision=revision,
        threads=threads,
        check=check,
        force=force,
        dry_run=dry_run,
    )
    if not set(options.types) <= _TYPES:
        raise UsageError(
            f"an adapter is f16 or f32, not {options.types[0]}", hint="leave -q away: f16, and f32 where needed"
        )
    with opened(base, [adapter], options, events) as inputs:
        return _export(_planned(inputs, options, base), events)


def _planned(inputs: Inputs, options: ExportOptions, given: str | Path) -> _Work:
    merged = inputs.weights
    if not isinstance(merged, MergedSource):
        raise UsageError("there is no adapter", hint="give one with --adapter")
    adapter, weight = inputs.adapters[0]
    plan = plan_adapter(merged.base, adapter, weight, inputs.architecture)
    name = options.name or adapter.folder.name
    folder = options.folder(name)
    provenance = provenance_of(inputs, "float32")
    recipe = options.types[0] if options.types else None
    path = folder / f"{file_stem(name)}.lora.{recipe or 'f16'}.gguf"
    metadata = adapter_metadata(inputs, name, provenance, plan.alpha)
    file = plan_adapter_file(plan, path, recipe, metadata)
    # Only a GGUF can stand behind FROM.
    template = choose_template(inputs, options, name, writes_vocabulary=False) if inputs.gguf is not None else None
    modelfile = None
    if template is not None:
        modelfile = adapter_modelfile(
            template.inputs,
            template,
            provenance,
            file=path,
            size=file.size,
            name=name,
            given=given,
            system=options.system,
            num_ctx=options.num_ctx,
        )
    doubts = (*another_tokenizer(inputs), *(modelfile.warnings if modelfile else ()))
    return _Work(inputs, merged, options, name, folder, provenance, plan, file, template, modelfile, doubts)


def _export(work: _Work, events: Events) -> ExportResult:
    options, file = work.options, work.file
    ahead = preflight(
        Plan(work.merged, (), (file,), None, work.plan.parameters), threads=options.threads or 1, force=options.force
    )
    events.preflight(ahead)
    for note in work.template.notes if work.template else ():
        events.note(note)
    for warning in work.doubts:
        events.warning(warning)
    result = ExportResult(
        name=work.name,
        folder=work.folder,
        files=(),
        modelfiles=(),
        template=work.template.strategy if work.template else None,
        num_ctx=work.modelfile.num_ctx if work.modelfile else None,
        preflight=ahead,
        checks=(),
        warnings=(*work.inputs.warnings, *work.doubts),
        provenance={key: value for key, value in work.provenance.as_dict().items() if key != "merge_dtype"},
        dry_run=options.dry_run,
    )
    if options.dry_run:
        return result
    make_folder(work.folder)
    staged = replace(file, path=file.path.with_name(file.path.name + UNCHECKED))
    events.step(f"writing {file.path.name}")
    written = write_adapter(work.plan, staged, events.progress)
    checks, error = _checked(work, staged.path, events) if options.check else ((), None)
    os.replace(staged.path, file.path)  # noqa: PTH105 - replaces on Windows too
    exported = ExportedFile(file.path, file.recipe, written.size, written.sha256, file.bits_per_weight)
    result = replace(result, files=(exported,), checks=checks)
    if work.modelfile:
        write_text(work.folder / "Modelfile", work.modelfile.text)
        result = replace(result, modelfiles=(work.folder / "Modelfile",))
    write_text(work.folder / REPORT, json.dumps(_report(result, work, error), ensure_ascii=False, indent=2) + "\n")
    return result


def _checked(work: _Work, path: Path, events: Events) -> tuple[tuple[CheckResult, ...], float]:
    """Compare the file with the merge; over a GGUF base run it too. One that fails is left to be looked at."""
    events.step(f"checking {work.file.path.name}: changes what the merge changes")
    try:
        error = check_against_merge(path, work.plan, work.merged)
        if work.inputs.gguf is None:
            return (), error
        return (_run(work, path),), error
    except CheckError as err:
        note_kept(err, path)
        raise
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _run(work: _Work, path: Path) -> CheckResult:
    base, final, threads = work.inputs.base.path, work.file.path, work.options.threads
    try:
        with LlamaCppWorker(base, num_ctx=_NUM_CTX, threads=threads, gpu_layers=0, adapters=[(path, 1.0)]) as worker:
            answer = worker.complete(_PROMPT, max_tokens=8)
    except RuntimeFailedError as err:
        raise CheckError(f"llama.cpp does not run {base.name} with {final.name}: {err.message}", hint=err.hint) from err
    return CheckResult(final, 0, (), str(answer.get("content", "")))


def _report(result: ExportResult, work: _Work, error: float | None) -> dict[str, Any]:
    """What export.json holds."""
    file = result.files[0]
    return {
        "schema": 1,
        "name": result.name,
        "adapter_only": True,
        "files": [
            {
                "file": file.path.name,
                "type": file.recipe,
                "bytes": file.size,
                "sha256": file.sha256,
                "float32_tensors": [choice.name for choice in work.file.fallbacks],
            }
        ],
        "alpha": work.plan.alpha,
        "modelfiles": [path.name for path in result.modelfiles],
        "template": dict(work.template.record) if work.template else {},
        "num_ctx": result.num_ctx,
        "checks": [
            {"file": check.path.name, "over": work.inputs.base.path.name, "continuation": check.continuation}
            for check in result.checks
        ],
        "largest_error_against_merge": error,
        "warnings": list(result.warnings),
        **result.provenance,
    }
