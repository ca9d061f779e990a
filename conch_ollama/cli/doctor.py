"""`conch doctor`: shows what is here and what to use."""

from __future__ import annotations

import click

from conch_ollama.cli import output
from conch_ollama.cli.options import host_option


@click.command("doctor", help="Show versions, runtimes, Ollama, disk and memory, and what to use here.")
@host_option
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(host: str | None, as_json: bool) -> None:
    from conch_ollama.workflows.doctor import examine

    found = examine(host)
    if as_json:
        output.as_json(found.as_dict())
        return
    for title, rows in found.sections:
        output.line(title)
        output.table(list(rows))
    output.line("advice")
    for text in found.advice:
        output.line(f"  - {text}")
