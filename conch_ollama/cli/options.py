"""Options that several commands share, and how their values are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])

hub_option = click.option(
    "--hub", type=click.Choice(["huggingface", "modelscope"]), default="huggingface", show_default=True
)
revision_option = click.option("--revision", metavar="REV", help="Branch, tag or commit on the hub.")

_EXPORT_OPTIONS = (
    click.option(
        "-a",
        "--adapter",
        "adapters",
        multiple=True,
        metavar="DIR[=WEIGHT]",
        help="A PEFT folder, a LLaMA-Factory run or a checkpoint; several are added up by their weights.",
    ),
    click.option(
        "-q", "--type", "types", multiple=True, metavar="TYPE", help="q4_K_M (default), q8_0, f16 …; several: one read."
    ),
    click.option("--name", metavar="NAME", help="The model's name, for files and for Ollama."),
    click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder to write (default: ./NAME)."),
    click.option(
        "--merge-dtype",
        type=click.Choice(["float32", "base"]),
        default="float32",
        show_default=True,
        help="Merge in float32, or round as PEFT's merge does.",
    ),
    click.option(
        "--template",
        metavar="proven|native|FILE",
        help="proven (default); native: none, Ollama >= 0.30 renders the GGUF's own; or a Go TEMPLATE file.",
    ),
    click.option("--allow-unproven", is_flag=True, help="Take the nearest TEMPLATE where none is proven."),
    click.option(
        "--train-template",
        metavar="NAME",
        help="LLaMA-Factory's template that was trained (default: what the adapter's training_args.yaml says).",
    ),
    click.option(
        "--plain-jinja",
        is_flag=True,
        help="Give the GGUF a chat template that llama.cpp renders as transformers does, where its own differs.",
    ),
    click.option("--system", metavar="TEXT", help="A SYSTEM text for the Modelfile."),
    click.option("--num-ctx", type=click.IntRange(min=1), help="Context in tokens."),
    click.option("--pre", metavar="NAME", help="llama.cpp's name of the pre-tokenizer, where it is not recognised."),
    click.option("--tokenizer", type=click.Path(path_type=Path), help="Folder whose tokenizer is to be used."),
    hub_option,
    revision_option,
    click.option("--threads", type=click.IntRange(min=0), default=0, help="Worker threads (default: one a core)."),
    click.option("--no-check", is_flag=True, help="Don't run the written files (small machines)."),
    click.option("--force", is_flag=True, help="Replace what is there."),
)


def export_options(function: Function) -> Function:
    """Add the options of an export."""
    for option in reversed(_EXPORT_OPTIONS):
        function = option(function)
    return function


host_option = click.option("--host", metavar="URL", help="The Ollama server (default: OLLAMA_HOST, else this machine).")


def weighted_adapter(text: str) -> tuple[str, float]:
    """`DIR` or `DIR=WEIGHT`; a folder whose name holds `=` is taken as it is if it exists."""
    folder, sign, weight = text.rpartition("=")
    if not sign or Path(text).exists():
        return text, 1.0
    try:
        return folder, float(weight)
    except ValueError:
        return text, 1.0
