"""`conch inspect`: shows what a file or folder holds."""

from __future__ import annotations

import click

from conch_ollama.cli import output


@click.command("inspect", help="Show what a GGUF, a Hugging Face folder, an adapter or a safetensors file holds.")
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--tensors", is_flag=True, help="List every tensor.")
def command(path: str, as_json: bool, tensors: bool) -> None:
    from conch_ollama.workflows.inspect import inspect

    found = inspect(path)
    if as_json:
        output.as_json(found.as_dict())
        return
    output.line(f"{found.kind}: {found.path}")
    output.table(list(found.facts))
    if tensors:
        output.line("tensors:")
        output.table([(t.name, f"{t.dtype} {list(t.shape)}") for t in found.tensors])
