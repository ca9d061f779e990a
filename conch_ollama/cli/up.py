"""`conch up`: export, register, chat."""

from __future__ import annotations

from typing import Any

import click

from conch_ollama.cli import output
from conch_ollama.cli.options import export_options, host_option, weighted_adapter


@click.command("up", help="Export BASE with its adapters, register it with Ollama if one answers, and chat.")
@click.argument("base")
@export_options
@host_option
@click.option(
    "--ask", "questions", multiple=True, metavar="TEXT", help="Ask this and leave, instead of a chat; repeatable."
)
def command(
    base: str,
    adapters: tuple[str, ...],
    types: tuple[str, ...],
    no_check: bool,
    host: str | None,
    questions: tuple[str, ...],
    **options: Any,
) -> None:
    from conch_ollama.cli.chat import converse
    from conch_ollama.workflows.up import up

    with up(
        base,
        host=host,
        events=output.Terminal(),
        adapters=[weighted_adapter(text) for text in adapters],
        types=types or ("q4_K_M",),
        check=not no_check,
        **options,
    ) as chat:
        converse(chat, questions)
