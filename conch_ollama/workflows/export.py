"""The main job: base model and adapters to GGUF files, Modelfiles and export.json in one folder.

Joins the rooms: opens, plans, looks ahead, streams, checks, names. Nothing carries its final name unchecked.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from conch_ollama.chat_template.record import gguf_record
from conch_ollama.errors import CheckError
from conch_ollama.exporter.general import file_metadata
from conch_ollama.exporter.hugging_face import write_companions
from conch_ollama.exporter.inputs import Inputs, MergeDtype
from conch_ollama.exporter.pipeline import run_plan
from conch_ollama.exporter.plan import Plan, plan_export
from conch_ollama.exporter.preflight import preflight
from conch_ollama.exporter.provenance import Provenance, provenance_of
from conch_ollama.workflows.check import check_file, expected_ids
from conch_ollama.workflows.events import Events, Silent
from conch_ollama.workflows.export_options import AdapterSource, ExportOptions, file_stem, note_kept, opened
from conch_ollama.workflows.folders import REPORT, UNCHECKED, make_folder, write_text
from conch_ollama.workflows.machine import this_machine
from conch_ollama.workflows.modelfile import Modelfiles, build_modelfiles
from conch_ollama.workflows.results import CheckResult, ExportedFile, ExportResult
from conch_ollama.workflows.staged import final_name, publish, with_final_names
from conch_ollama.workflows.template_choice import Choice, choose_template


def export(
    base: str | Path,
    *,
    adapters: Sequence[AdapterSource] = (),
    types: Sequence[str] = ("q4_K_M",),
    name: str | None = None,
    out: str | Path | None = None,
    merge_dtype: MergeDtype = "float32",
    hugging_face: bool = False,
    template: str | Path | None = None,
    allow_unproven: bool = False,
    train_template: str | None = None,
    plain_jinja: bool = False,
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
    """Merge adapters into a base, quantise, and write GGUF, Modelfile and export.json.

    base: a Hugging Face folder, a hub-cache folder, a hub id, a GGUF file, or a model of the local Ollama.
    adapters: PEFT folders or LLaMA-Factory runs, each alone or with a weight. types: recipes such as "q8_0", one file
    each. name: the model's name, by default the adapter's or base's. out: the folder to write, by default ./NAME.
    merge_dtype: "float32", or "base" to round as PEFT's merge does. hugging_face: also write the merged folder, to
    OUT/hf. template: "proven" (as None), "native" (no TEMPLATE: a new Ollama renders the chat template in the GGUF), or
    a Go TEMPLATE file. allow_unproven: take the nearest TEMPLATE where none is proven. train_template: the name of the
    LLaMA-Factory template that was trained, if the adapter does not say it. plain_jinja: give the GGUF a chat template
    that llama.cpp renders as transformers renders the model's own. system: a SYSTEM text. num_ctx: context in tokens.
    pre: the pre-tokenizer's llama.cpp name. tokenizer: a folder whose tokenizer counts. threads: 0 for one a
    core. check: run the written files. force: replace what is there. dry_run: stop after the pre-flight.

    Raises ConchError's kin; nothing is left behind then but a file named *.unchecked where the check failed.
    """
    events = events or Silent()
    options = ExportOptions.of(
        types=types,
        name=name,
        out=out,
        merge_dtype=merge_dtype,
        hugging_face=hugging_face,
        template=template,
        allow_unproven=allow_unproven,
        train_template=train_template,
        plain_jinja=plain_jinja,
        system=system,
        num_ctx=num_ctx,
        pre=pre,
        tokenizer=tokenizer,
        hub=hub,
        revision=revision,
        threads=threads or this_machine().cores,
        check=check,
        force=force,
        dry_run=dry_run,
    )
    with opened(base, adapters, options, events) as inputs:
        return _export(inputs, options, events)


def _export(inputs: Inputs, options: ExportOptions, events: Events) -> ExportResult:
    name = options.name or _default_name(inputs)
    folder = options.folder(name)
    provenance = provenance_of(inputs, options.merge_dtype)
    template = choose_template(inputs, options, name)
    inputs = template.inputs
    plan = _plan(inputs, options, name, folder, provenance, template)
    ahead = preflight(with_final_names(plan), threads=options.threads, force=options.force)
    events.preflight(ahead)
    for note in template.notes if plan.files else ():
        events.note(note)
    modelfiles = build_modelfiles(inputs, options, name, plan, provenance, template)
    for warning in modelfiles.warnings:
        events.warning(warning)
    warnings = (*inputs.warnings, *modelfiles.warnings)
    if options.dry_run:
        return _result(name, folder, (), modelfiles, ahead, (), warnings, provenance, dry_run=True)
    make_folder(folder)
    staged = _write(plan, inputs, options, events)
    hf = plan.folder.path if plan.folder else None
    checks = _check(staged, hf, inputs, events) if options.check and plan.files else ()
    files = publish(staged, plan)
    result = _result(name, folder, files, modelfiles, ahead, checks, warnings, provenance)
    for path, text in modelfiles.texts.items():
        write_text(folder / path, text)
    write_text(folder / REPORT, json.dumps(report(result, modelfiles), ensure_ascii=False, indent=2) + "\n")
    return result


def _default_name(inputs: Inputs) -> str:
    if inputs.adapters:
        return inputs.adapters[0][0].folder.name
    return inputs.base.name.rpartition("/")[2]


def _plan(
    inputs: Inputs, options: ExportOptions, name: str, folder: Path, provenance: Provenance, template: Choice
) -> Plan:
    stem = file_stem(name)
    targets = {recipe: folder / f"{stem}.{recipe}.gguf{UNCHECKED}" for recipe in options.types}
    parameters = sum(info.elements for info in inputs.weights.tensors.values())
    metadata = file_metadata(inputs, name, parameters, provenance, gguf_record(template.record))
    return plan_export(
        inputs.weights,
        inputs.architecture,
        metadata,
        targets=targets,
        hugging_face=folder / f"hf{UNCHECKED}" if options.hugging_face else None,
    )


def _write(plan: Plan, inputs: Inputs, options: ExportOptions, events: Events) -> tuple[ExportedFile, ...]:
    what = " + ".join(file.recipe for file in plan.files) or "Hugging Face folder"
    events.step(f"writing {what} in one pass")
    if plan.folder is not None:
        shutil.rmtree(plan.folder.path, ignore_errors=True)  # what an earlier run that failed its check left
    written = run_plan(plan, threads=options.threads, progress=events.progress)
    if plan.folder is not None:
        base = inputs.base.path if inputs.gguf is None else None
        write_companions(plan.folder, inputs.weights, inputs.tokenizer_folder, base)
    recipes = {str(file.path): file for file in plan.files}
    return tuple(
        ExportedFile(
            Path(file.path),
            recipes[file.path].recipe if file.path in recipes else None,
            file.size,
            file.sha256,
            recipes[file.path].bits_per_weight if file.path in recipes else None,
        )
        for file in written
    )


def _check(
    staged: Sequence[ExportedFile], folder: Path | None, inputs: Inputs, events: Events
) -> tuple[CheckResult, ...]:
    """Run every GGUF. One that fails stays under its staged name to be looked at; a broken-off check leaves none."""
    results = []
    try:
        expected = expected_ids(inputs)
        for file in staged:
            if file.recipe is not None:
                events.step(f"checking {final_name(file.path).name}: loads, tokenises as the original, answers")
                results.append(check_file(file.path, expected, events.warning))
    except CheckError as err:
        note_kept(err, file.path)
        raise
    except BaseException:
        for file in staged:
            file.path.unlink(missing_ok=True)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return tuple(results)


def _result(
    name: str,
    folder: Path,
    files: tuple[ExportedFile, ...],
    modelfiles: Modelfiles,
    ahead: Any,
    checks: tuple[CheckResult, ...],
    warnings: tuple[str, ...],
    provenance: Provenance,
    *,
    dry_run: bool = False,
) -> ExportResult:
    return ExportResult(
        name=name,
        folder=folder,
        files=files,
        modelfiles=tuple(folder / path for path in modelfiles.texts) if not dry_run else (),
        template=modelfiles.strategy,
        num_ctx=modelfiles.num_ctx,
        preflight=ahead,
        checks=checks,
        warnings=warnings,
        provenance=provenance.as_dict(),
        dry_run=dry_run,
    )


def report(result: ExportResult, modelfiles: Modelfiles) -> dict[str, Any]:
    """What export.json holds; paths are relative to its folder."""
    return {
        "schema": 1,
        "name": result.name,
        "files": [
            {
                "file": file.path.relative_to(result.folder).as_posix(),
                "type": file.recipe,
                "bytes": file.size,
                "sha256": file.sha256,
                "bits_per_weight": file.bits_per_weight and round(file.bits_per_weight, 3),
            }
            for file in result.files
        ],
        "modelfiles": [path.name for path in result.modelfiles],
        "template": modelfiles.report,
        "num_ctx": result.num_ctx,
        "checks": [
            {
                "file": final_name(check.path).name,
                "texts": check.texts,
                "gaps": list(check.gaps),
                "continuation": check.continuation,
            }
            for check in result.checks
        ],
        "warnings": list(result.warnings),
        **result.provenance,
    }
