"""`conch register`: parses, calls the workflow, prints which template won and the first answer."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from conch_ollama.cli import output
from conch_ollama.cli.options import host_option


@click.command(
    "register",
    help="""Create an exported model in Ollama, check what Ollama made of it, and ask it one question.

    FOLDER: what `conch export` wrote, or a Modelfile in it.
    """,
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="Another name than the export's.")
@host_option
@click.option(
    "--template",
    metavar="proven|native|FILE",
    help="Instead of the Modelfile's: one proven now; none (Ollama >= 0.30 renders the GGUF's own); a TEMPLATE file.",
)
@click.option("--allow-unproven", is_flag=True, help="Take a TEMPLATE that is not proven.")
@click.option("--ask", default="请问你是谁", show_default=True, metavar="TEXT", help="The question.")
@click.option("--no-ask", is_flag=True, help="Ask nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    folder: Path,
    name: str | None,
    host: str | None,
    template: str | None,
    allow_unproven: bool,
    ask: str,
    no_ask: bool,
    as_json: bool,
) -> None:
    from conch_ollama.workflows.register import register

    result = register(
        folder,
        name=name,
        host=host,
        template=template,
        allow_unproven=allow_unproven,
        ask=None if no_ask else ask,
        events=output.Terminal(),
    )
    if as_json:
        output.as_json(asdict(result))
        return
    output.line(
        f"{result.name}: {'created' if result.changed else 'unchanged'} on {result.host} (Ollama {result.version})"
    )
    proven = ", proven" if result.proven else ", NOT PROVEN" if result.template != "native" else ""
    output.line(f"prompts: by {result.rendered_by} ({result.template}{proven})")
    for text in result.rendered:
        output.line(f"  {text}")
    if result.answer is not None:
        output.line(f"> {ask}")
        output.line(result.answer)
    output.note(f"next: ollama run {result.name}")
