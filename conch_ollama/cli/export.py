"""`conch export`: parses, calls the workflow, prints what was written."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conch_ollama.cli import output
from conch_ollama.cli.options import export_options, weighted_adapter
from conch_ollama.errors import UsageError

if TYPE_CHECKING:
    from conch_ollama.workflows.results import ExportResult


@click.command(
    "export",
    help="""Merge adapters into BASE, quantise, and write GGUF, Modelfile and export.json, in one pass.

    BASE: a Hugging Face folder, a hub-cache folder, a hub id (org/name), a GGUF file, or a model of the local Ollama.
    """,
)
@click.argument("base")
@export_options
@click.option(
    "--format",
    "formats",
    type=click.Choice(["gguf", "hf"]),
    multiple=True,
    help="hf: the merged Hugging Face folder (alone, or with -q in the same pass).",
)
@click.option(
    "--adapter-only",
    is_flag=True,
    help="Write the adapter as a GGUF of its own (-q f16, the default, or f32), for llama.cpp and Ollama's ADAPTER.",
)
@click.option("--dry-run", is_flag=True, help="Stop after the pre-flight.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    base: str,
    adapters: tuple[str, ...],
    types: tuple[str, ...],
    formats: tuple[str, ...],
    adapter_only: bool,
    no_check: bool,
    as_json: bool,
    **options: Any,
) -> None:
    events = output.Terminal()
    if adapter_only:
        options |= {"check": not no_check, "events": events}
        _print(_adapter_only(base, adapters, types, formats, options), as_json)
        return
    from conch_ollama.workflows.export import export

    only_folder = "hf" in formats and "gguf" not in formats and not types
    result = export(
        base,
        adapters=[weighted_adapter(text) for text in adapters],
        types=() if only_folder else types or ("q4_K_M",),
        hugging_face="hf" in formats,
        check=not no_check,
        events=events,
        **options,
    )
    _print(result, as_json)


def _adapter_only(
    base: str, adapters: tuple[str, ...], types: tuple[str, ...], formats: tuple[str, ...], options: dict[str, Any]
) -> ExportResult:
    from conch_ollama.workflows.adapter_export import export_adapter

    if len(adapters) != 1:
        raise UsageError(
            f"--adapter-only writes one adapter, {len(adapters)} are named",
            hint="give one with -a; several can be put over a base together by conch.toml (adapters = [...])",
        )
    if len(types) > 1:
        raise UsageError(f"--adapter-only writes one file, {len(types)} types are named", hint="-q f16 or -q f32")
    rounded = options.pop("merge_dtype") != "float32"
    unfit = [("--format", formats), ("--plain-jinja", options.pop("plain_jinja")), ("--merge-dtype", rounded)]
    for option, given in unfit:
        if given:
            raise UsageError(f"{option} is about the whole model and makes no sense with --adapter-only")
    result = export_adapter(base, weighted_adapter(adapters[0]), type=types[0] if types else None, **options)
    if result.files and not result.modelfiles:
        output.note(
            "over the base as a GGUF (`conch export BASE -q f16`), in conch.toml: "
            f"adapters = [{{ path = {json.dumps(str(result.gguf))} }}]"
        )
    return result


def _print(result: ExportResult, as_json: bool) -> None:
    if as_json:
        output.as_json(asdict(result))
        return
    if result.dry_run:
        output.line("dry run: nothing was written")
        return
    for file in result.files:
        output.line(f"{file.path}  {output.size(file.size)}  sha256 {file.sha256[:12]}")
    for path in result.modelfiles:
        output.line(str(path))
    if result.modelfiles:
        folder = _quoted(result.folder)
        output.note(f"next: conch register {folder}    or, without Ollama: conch chat {folder}")


def _quoted(path: Path) -> str:
    import shlex

    return shlex.quote(str(path))
