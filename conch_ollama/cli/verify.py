"""`conch verify`: parses, calls the workflow, prints claim after claim. Exit status 3: one does not hold."""

from __future__ import annotations

from pathlib import Path

import click

from conch_ollama.cli import output

DOES_NOT_HOLD = 3


@click.command(
    "verify",
    help="""Check again what an export claims: hashes, structure, origin, and the proof of its TEMPLATE.

    PATH: the folder that `conch export` wrote, or a GGUF file. Nothing of the sender's is taken on trust: each claim
    holds, does not hold, or can't be checked here.

    Exit status: 0, or 3 where a claim does not hold, 1 an error, 2 wrong usage.
    """,
)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--base", metavar="BASE", help="The base that it was made from, to be compared with the weights.")
@click.option(
    "-a", "--adapter", "adapters", multiple=True, type=click.Path(path_type=Path), help="Its adapters, in their order."
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(path: Path, base: str | None, adapters: tuple[Path, ...], as_json: bool) -> int:
    from conch_ollama.workflows.claims import FAILS, HOLDS
    from conch_ollama.workflows.verify import verify

    found = verify(path, base=base, adapters=adapters, events=output.Terminal())
    if as_json:
        output.as_json(found.as_dict())
    else:
        marks = {HOLDS: "  holds   ", FAILS: "  FAILS   "}
        subject = ""
        for claim in found.claims:
            if claim.subject != subject:
                subject = claim.subject
                output.line(subject)
            first, *rest = claim.detail.splitlines() or [""]
            output.line(f"{marks.get(claim.verdict, '  unknown ')}{claim.claim}" + (f": {first}" if first else ""))
            for line in rest:
                output.line(f"            {line}")
        counts = found.as_dict()["counts"]
        output.line(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    return 0 if found.holds else DOES_NOT_HOLD
