"""`conch feedback`: what users thought of answers."""

from __future__ import annotations

import json
from pathlib import Path

import click

from conch_ollama.cli import output


@click.group("feedback", help="Ratings that came to /v1/feedback.")
def command() -> None:
    pass


@command.command("export", help="Preference pairs as JSON lines, as LLaMA-Factory's DPO data has them.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--model", metavar="NAME", help="Of this model only.")
@click.option("--all", "everything", is_flag=True, help="Every rating as it is, instead of pairs.")
def export(file: Path, model: str | None, everything: bool) -> None:
    from dataclasses import asdict

    from conch_ollama.server.feedback import pairs, ratings

    found = ratings(file, model=model)
    count = 0
    for one in map(asdict, found) if everything else pairs(found):
        output.line(json.dumps(one, ensure_ascii=False))
        count += 1
    output.note(f"{count} {'ratings' if everything else 'pairs'}")
