"""`conch export`: parses, calls the workflow, prints what was written."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from conch_ollama.cli import output
from conch_ollama.cli.options import export_options, weighted_adapter


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
@click.option("--dry-run", is_flag=True, help="Stop after the pre-flight.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    base: str,
    adapters: tuple[str, ...],
    types: tuple[str, ...],
    formats: tuple[str, ...],
    no_check: bool,
    as_json: bool,
    **options: Any,
) -> None:
    from conch_ollama.workflows.export import export

    only_folder = "hf" in formats and "gguf" not in formats and not types
    result = export(
        base,
        adapters=[weighted_adapter(text) for text in adapters],
        types=() if only_folder else types or ("q4_K_M",),
        hugging_face="hf" in formats,
        check=not no_check,
        events=output.Terminal(),
        **options,
    )
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
